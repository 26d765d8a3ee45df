//! Q4_0: four bits about zero.

use bytemuck::{Pod, Zeroable};
use half::f16;

use crate::quant::{BLOCK_LEN, QuantBlock};

/// Thirty-two weights in 18 bytes: `d · (q − 8)`, where `d` may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    /// The scale.
    pub d: f16,
    /// Byte `i` holds the code of weight `i` in its low half and that of `i + 16` in its high half.
    pub qs: [u8; BLOCK_LEN / 2],
}

impl QuantBlock for BlockQ4_0 {
    const LEN: usize = BLOCK_LEN;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
        for ((low, high), q) in low.iter_mut().zip(high).zip(self.qs) {
            *low = f32::from((q & 15) as i8 - 8) * d;
            *high = f32::from((q >> 4) as i8 - 8) * d;
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite()
    }
}
