//! Q6_K: six bits about zero, with a scale for each 16 weights.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::QK_K;
use crate::quant::QuantBlock;

/// Weights of 256 in 210 bytes: `(d · scale) · (q − 32)`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ6K {
    /// The low four bits. Of each 128 weights, 64 bytes: their low halves belong to the first 64 weights.
    pub ql: [u8; QK_K / 2],
    /// The high two bits. Of each 128 weights, 32 bytes: from the lowest two bits on, they belong to a quarter each.
    pub qh: [u8; QK_K / 4],
    /// A scale for each 16 weights.
    pub scales: [i8; QK_K / 16],
    /// What scales are multiplied with.
    pub d: f16,
}

impl BlockQ6K {
    /// All codes, which count from −32 on.
    #[inline(always)]
    pub(crate) fn codes(&self) -> [u8; QK_K] {
        let mut codes = [0; QK_K];
        let halves = self.ql.as_chunks::<64>().0.iter().zip(self.qh.as_chunks::<32>().0);
        for (codes, (ql, qh)) in codes.as_chunks_mut::<128>().0.iter_mut().zip(halves) {
            for (quarter, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (first, shift) = (quarter % 2 * 32, quarter / 2 * 4);
                for (l, code) in codes.iter_mut().enumerate() {
                    *code = ql[first + l] >> shift & 15 | (qh[l] >> (2 * quarter) & 3) << 4;
                }
            }
        }
        codes
    }
}

impl QuantBlock for BlockQ6K {
    const LEN: usize = QK_K;

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, codes) = (self.d.to_f32(), self.codes());
        let runs = out.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for ((out, codes), scale) in runs.zip(self.scales) {
            let scale = d * f32::from(scale);
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(code as i8 - 32);
            }
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.d.is_finite()
    }
}
