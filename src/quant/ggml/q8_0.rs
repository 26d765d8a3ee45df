//! Q8_0: eight bits about zero.

use bytemuck::{Pod, Zeroable};
use half::f16;

use crate::quant::{BLOCK_LEN, QuantBlock};

/// Thirty-two weights in 34 bytes: `d · q`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    /// The scale.
    pub d: f16,
    /// The codes.
    pub qs: [i8; BLOCK_LEN],
}

impl QuantBlock for BlockQ8_0 {
    const LEN: usize = BLOCK_LEN;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, q) in out.iter_mut().zip(self.qs) {
            *out = f32::from(q) * d;
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite()
    }
}
