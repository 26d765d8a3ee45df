//! A block, as it lies in a `.q4` file, and what its codes stand for.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::blocks::QuantBlock;

/// Weights in a block.
pub const BLOCK_LEN: usize = 32;

/// Thirty-two weights in 20 bytes, as they lie in a `.q4` file: weight `i` stands for `code(i) · scale + bias`.
///
/// The scale and the bias are kept as bits, since a file may hold anything: a scale that is not positive or not finite,
/// or a bias that is not finite, is not [`sound`](Block::is_sound).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Block {
    /// The scale, IEEE half precision.
    pub scale: u16,
    /// The bias, IEEE half precision.
    pub bias: u16,
    /// Byte `b` holds the code of weight `2b` in its low half and that of `2b + 1` in its high half.
    pub codes: [u8; BLOCK_LEN / 2],
}

impl Block {
    /// What a code is multiplied with.
    #[must_use]
    pub fn scale(&self) -> f16 {
        f16::from_bits(self.scale)
    }

    /// What is added to that.
    #[must_use]
    pub fn bias(&self) -> f16 {
        f16::from_bits(self.bias)
    }

    /// Whether the scale is positive and both numbers are finite.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        // Positive and finite halves are the bit patterns between zero and infinity.
        (1..INFINITY).contains(&self.scale) && self.bias & INFINITY != INFINITY
    }

    /// All 32 weights in single precision. The product is exact; the sum rounds once.
    #[must_use]
    #[inline(always)]
    pub fn weights(&self) -> [f32; BLOCK_LEN] {
        let (scale, bias) = (self.scale().to_f32(), self.bias().to_f32());
        let mut codes = [0; BLOCK_LEN];
        for (pair, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(self.codes) {
            let byte = u16::from(byte);
            *pair = ((byte | byte << 4) & 0x0f0f).to_le_bytes();
        }
        let mut weights = [0.0; BLOCK_LEN];
        for (weight, code) in weights.iter_mut().zip(codes) {
            *weight = f32::from(code) * scale + bias;
        }
        weights
    }

    pub(super) fn new(scale: f16, bias: f16, codes: [u8; BLOCK_LEN]) -> Self {
        let mut pairs = [0; BLOCK_LEN / 2];
        for (pair, codes) in pairs.iter_mut().zip(codes.as_chunks::<2>().0) {
            *pair = codes[0] | codes[1] << 4;
        }
        Self { scale: scale.to_bits(), bias: bias.to_bits(), codes: pairs }
    }
}

impl QuantBlock for Block {
    const LEN: usize = BLOCK_LEN;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.weights());
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        Self::is_sound(self)
    }
}

/// The bits of a half's infinity: all ones in the exponent.
const INFINITY: u16 = 0x7c00;
