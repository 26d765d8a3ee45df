//! Four bits about zero: ggml's Q4_0.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::super::simd::Simd;
use super::*;
use crate::quant::ggml::BlockQ4_0;

/// Four and a half bits a weight, as in a file: where codes count from −8 on, no bias need be read.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(32))]
pub(in super::super) struct PanelQ4_0 {
    codes: [Word<u8>; WORDS / 2],
    scales: [f16; PANEL_ROWS],
}

impl Panel for PanelQ4_0 {
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, _: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let mut products = from_offset(dot, -8, x, 0..2);
        add_nibbles(dot, &self.codes, x, &mut products);
        add_scaled(dot, dot.simd().load_f16(&self.scales), x, products, totals);
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        let scale = self.scales[row].to_f32();
        for (out, code) in out.iter_mut().zip(nibbles(&self.codes, row)) {
            *out = f32::from(code as i8 - 8) * scale;
        }
    }
}

impl PackInto<PanelQ4_0> for BlockQ4_0 {
    fn pack_into(&self, panel: &mut PanelQ4_0, row: usize) {
        let mut codes = [0; BLOCK_LEN];
        for (i, q) in self.qs.into_iter().enumerate() {
            (codes[i], codes[i + BLOCK_LEN / 2]) = (q & 15, q >> 4);
        }
        pack_nibbles(&codes, &mut panel.codes, row);
        panel.scales[row] = self.d;
    }
}
