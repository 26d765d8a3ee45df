//! Q4_1: four bits from a minimum on.

use bytemuck::{Pod, Zeroable};
use half::f16;

use crate::quant::{BLOCK_LEN, QuantBlock};

/// Thirty-two weights in 20 bytes: `d · q + m`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_1 {
    /// The scale.
    pub d: f16,
    /// The weight of code 0.
    pub m: f16,
    /// Byte `i` holds the code of weight `i` in its low half and that of `i + 16` in its high half.
    pub qs: [u8; BLOCK_LEN / 2],
}

impl QuantBlock for BlockQ4_1 {
    const LEN: usize = BLOCK_LEN;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
        for ((low, high), q) in low.iter_mut().zip(high).zip(self.qs) {
            *low = f32::from(q & 15) * d + m;
            *high = f32::from(q >> 4) * d + m;
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite() & self.m.is_finite()
    }
}
