//! Q4_K: four bits from a minimum on, for each 32 weights.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{QK_K, scales::lines};
use crate::quant::QuantBlock;

/// Weights of 256 in 144 bytes: `(d · scale) · q − dmin · min`, with a scale and a minimum for each 32.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4K {
    /// What scales are multiplied with.
    pub d: f16,
    /// What minima are multiplied with.
    pub dmin: f16,
    /// Scales and minima of six bits.
    pub scales: [u8; 12],
    /// Of each 64 weights, 32 bytes: the low halves are the codes of the first 32, the high halves those of the others.
    pub qs: [u8; QK_K / 2],
}

impl QuantBlock for BlockQ4K {
    const LEN: usize = QK_K;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let lines = lines(self.d, self.dmin, &self.scales);
        let pairs = out.as_chunks_mut::<64>().0.iter_mut().zip(self.qs.as_chunks::<32>().0);
        for ((out, qs), &[(d1, m1), (d2, m2)]) in pairs.zip(lines.as_chunks::<2>().0) {
            let (low, high) = out.split_at_mut(32);
            for ((low, high), &q) in low.iter_mut().zip(high).zip(qs) {
                *low = d1 * f32::from(q & 15) - m1;
                *high = d2 * f32::from(q >> 4) - m2;
            }
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite() & self.dmin.is_finite()
    }
}
