//! Q5_K: five bits from a minimum on, for each 32 weights.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{QK_K, scales::lines};
use crate::quant::QuantBlock;

/// Weights of 256 in 176 bytes: as [`BlockQ4K`](super::BlockQ4K), with another bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5K {
    /// What scales are multiplied with.
    pub d: f16,
    /// What minima are multiplied with.
    pub dmin: f16,
    /// Scales and minima of six bits.
    pub scales: [u8; 12],
    /// Bit `j` of byte `l` is the highest of the code of weight `32 j + l`.
    pub qh: [u8; QK_K / 8],
    /// The low four bits: of each 64 weights, those of the first 32 in the low halves of 32 bytes.
    pub qs: [u8; QK_K / 2],
}

impl QuantBlock for BlockQ5K {
    const LEN: usize = QK_K;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let lines = lines(self.d, self.dmin, &self.scales);
        let pairs = out.as_chunks_mut::<64>().0.iter_mut().zip(self.qs.as_chunks::<32>().0);
        for (pair, ((out, qs), &[(d1, m1), (d2, m2)])) in pairs.zip(lines.as_chunks::<2>().0).enumerate() {
            let (low, high) = out.split_at_mut(32);
            for (((low, high), &q), h) in low.iter_mut().zip(high).zip(qs).zip(self.qh) {
                let h = h >> (2 * pair);
                *low = d1 * f32::from(q & 15 | (h & 1) << 4) - m1;
                *high = d2 * f32::from(q >> 4 | (h & 2) << 3) - m2;
            }
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite() & self.dmin.is_finite()
    }
}
