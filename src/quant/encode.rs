//! Weights → blocks. Which bytes come out is fixed by the format: other programs write the same ones.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::block::{BLOCK_LEN, Block};
use super::search;

/// How a block's codes are laid over the range of its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Code 0 is the smallest weight of the block and code 15 the largest.
    #[default]
    Asymmetric,
    /// Code 8 is zero, and 1 or 15 is the weight of the largest size. For rotated weights, which lie around zero.
    Symmetric,
}

/// How a block's scale and bias are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// From the extreme weights: no weight is off by more than about half a step. What lattice writes, to the byte.
    #[default]
    MinMax,
    /// Those among many that make the sum of the squared errors least; never worse than [`Search::MinMax`] in this sum.
    LeastSquares,
}

/// Why weights cannot be encoded. Positions count from the first weight given.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// A weight that is infinite or not a number, or that is so in single precision.
    #[error("block {block}: expected finite weights, found {value} at element {index}")]
    NonFinite {
        /// The block.
        block: usize,
        /// The weight's flat index.
        index: usize,
        /// The weight in single precision.
        value: f32,
    },
    /// Weights so far apart that their scale is infinite in half precision.
    #[error("block {block}: expected a scale that fits half precision, found {scale}")]
    Scale {
        /// The block.
        block: usize,
        /// The scale in single precision.
        scale: f32,
    },
    /// A bias that is infinite in half precision.
    #[error("block {block}: expected a bias that fits half precision, found {bias}")]
    Bias {
        /// The block.
        block: usize,
        /// The bias in single precision.
        bias: f32,
    },
}

impl QuantError {
    /// The same with positions that count from `blocks` blocks earlier on.
    #[must_use]
    pub(crate) fn after_blocks(mut self, blocks: usize) -> Self {
        if let Self::NonFinite { index, .. } = &mut self {
            *index += blocks * BLOCK_LEN;
        }
        let (Self::NonFinite { block, .. } | Self::Scale { block, .. } | Self::Bias { block, .. }) = &mut self;
        *block += blocks;
        self
    }
}

/// A number that weights are stored as. Encoding is done in single precision, to which `f64` is rounded first.
pub trait Weight: Copy + Send + Sync + sealed::Sealed {
    /// The number in single precision, ties to even.
    fn to_f32(self) -> f32;

    /// `weights` in single precision, at the beginning of `out`.
    #[doc(hidden)]
    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        for (to, from) in out.iter_mut().zip(weights) {
            *to = from.to_f32();
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Weight for f32 {
    #[inline]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Weight for f64 {
    #[inline]
    fn to_f32(self) -> f32 {
        self as f32
    }
}

impl Weight for f16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        // Where the machine has instructions for it, this asks for them once, not for each weight.
        weights.convert_to_f32_slice(&mut out[..weights.len()]);
    }
}

impl Weight for bf16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// Encodes a flat, row-major tensor: `ceil(weights.len() / 32)` blocks.
///
/// # Errors
/// The first weight that is not finite, or the first block whose scale or bias does not fit half precision.
pub fn quantize<W: Weight>(weights: &[W], encoding: Encoding, search: Search) -> Result<Vec<Block>, QuantError> {
    let mut blocks = vec![bytemuck::Zeroable::zeroed(); weights.len().div_ceil(BLOCK_LEN)];
    quantize_into(weights, encoding, search, &mut blocks)?;
    Ok(blocks)
}

/// As [`quantize`], into memory that is there.
///
/// # Errors
/// As [`quantize`]; some blocks are then written and others not.
///
/// # Panics
/// If `blocks` is not of the right length.
pub fn quantize_into<W: Weight>(
    weights: &[W],
    encoding: Encoding,
    search: Search,
    blocks: &mut [Block],
) -> Result<(), QuantError> {
    assert_eq!(blocks.len(), weights.len().div_ceil(BLOCK_LEN), "a block for each {BLOCK_LEN} weights");
    for (index, (weights, block)) in weights.chunks(BLOCK_LEN).zip(blocks).enumerate() {
        let mut padded = [0.0; BLOCK_LEN];
        W::widen(weights, &mut padded);
        // One test for all, since a sum of sizes is finite only if each is; a sum that overflows is looked into.
        if !padded.iter().map(|weight| weight.abs()).sum::<f32>().is_finite()
            && let Some(at) = padded.iter().position(|weight| !weight.is_finite())
        {
            return Err(QuantError::NonFinite { block: index, index: index * BLOCK_LEN + at, value: padded[at] });
        }
        let plain = Steps::from_extremes(&padded, weights.len(), encoding);
        *block = plain.encode(&padded, index)?;
        if search == Search::LeastSquares {
            *block = search::improve(&padded, weights.len(), encoding, *block);
        }
    }
    Ok(())
}

/// The line that a block's codes lie on, before it is rounded to half precision.
struct Steps {
    scale: f32,
    /// What code 0 stands for in the formula of the codes.
    bias: f32,
    /// Added to each code: 8 where the formula is about zero.
    centre: f32,
    /// Subtracted from each weight.
    minimum: f32,
}

impl Steps {
    fn from_extremes(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Asymmetric => {
                let (minimum, maximum) = extremes(&padded[..count]);
                let scale = representable((maximum - minimum) / 15.0);
                Self { scale, bias: minimum, centre: 0.0, minimum }
            }
            Encoding::Symmetric => {
                let largest = padded.iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
                let scale = representable(largest / 7.0);
                Self { scale, bias: -8.0 * scale, centre: 8.0, minimum: 0.0 }
            }
        }
    }

    /// Codes come from the line as it is; only what is stored is rounded.
    fn encode(&self, padded: &[f32; BLOCK_LEN], block: usize) -> Result<Block, QuantError> {
        let (scale, bias) = (f16::from_f32(self.scale), f16::from_f32(self.bias));
        if !(scale.is_finite() && scale > f16::ZERO) {
            return Err(QuantError::Scale { block, scale: self.scale });
        }
        if !bias.is_finite() {
            return Err(QuantError::Bias { block, bias: self.bias });
        }
        let inverse = 1.0 / self.scale;
        let mut codes = [0; BLOCK_LEN];
        for (code, weight) in codes.iter_mut().zip(padded) {
            *code = clamp_to_code(round((weight - self.minimum) * inverse) + self.centre);
        }
        Ok(Block::new(scale, bias, codes))
    }
}

/// The smallest and the largest weight; of zeros of both signs, the first one met.
fn extremes(weights: &[f32]) -> (f32, f32) {
    let mut extremes = (f32::INFINITY, f32::NEG_INFINITY);
    for &weight in weights {
        extremes.0 = if weight < extremes.0 { weight } else { extremes.0 };
        extremes.1 = if weight > extremes.1 { weight } else { extremes.1 };
    }
    extremes
}

/// One where a scale below one would be zero in half precision.
fn representable(scale: f32) -> f32 {
    if scale < 1.0 && f16::from_f32(scale) <= f16::ZERO { 1.0 } else { scale }
}

/// The nearest integer, halves away from zero, as `f32::round`; but this the compiler turns into vector instructions on
/// every machine. Adding the number below a half carries to the next integer from a half on.
pub(super) fn round(x: f32) -> f32 {
    const BELOW_HALF: f32 = 0.5_f32.next_down();
    // Beyond this, there is nothing behind the point, and codes are cut off long before.
    let x = x.clamp(-1024.0, 1024.0);
    f32::from((x + BELOW_HALF.copysign(x)) as i16)
}

pub(super) fn clamp_to_code(code: f32) -> u8 {
    code.clamp(0.0, 15.0) as u8
}
