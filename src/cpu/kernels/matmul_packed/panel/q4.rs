//! Four bits with a scale and a bias: our own blocks, and ggml's Q4_1.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::super::simd::Simd;
use super::*;
use crate::quant::Block;
use crate::quant::ggml::BlockQ4_1;

/// Five bits a weight, as in a file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(in super::super) struct PanelQ4 {
    codes: [Word<u8>; WORDS / 2],
    scales: [f16; PANEL_ROWS],
    biases: [f16; PANEL_ROWS],
}

impl Panel for PanelQ4 {
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, _: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let mut products = [dot.start(0); M];
        add_nibbles(dot, &self.codes, x, &mut products);
        add_scaled(dot, dot.simd().load_f16(&self.scales), x, products, totals);
        add_biases(dot, dot.simd().load_f16(&self.biases), x, totals);
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        let (scale, bias) = (self.scales[row].to_f32(), self.biases[row].to_f32());
        for (out, code) in out.iter_mut().zip(nibbles(&self.codes, row)) {
            *out = f32::from(code) * scale + bias;
        }
    }
}

impl PackInto<PanelQ4> for Block {
    fn pack_into(&self, panel: &mut PanelQ4, row: usize) {
        // Bytes of eight hold sixteen columns: those of a line are two apart.
        for (j, line) in panel.codes.iter_mut().enumerate() {
            let first = j / 2 * 8 + j % 2;
            line[row] = std::array::from_fn(|i| self.codes[first + 2 * i]);
        }
        (panel.scales[row], panel.biases[row]) = (self.scale(), self.bias());
    }
}

impl PackInto<PanelQ4> for BlockQ4_1 {
    fn pack_into(&self, panel: &mut PanelQ4, row: usize) {
        let mut codes = [0; BLOCK_LEN];
        for (i, q) in self.qs.into_iter().enumerate() {
            (codes[i], codes[i + BLOCK_LEN / 2]) = (q & 15, q >> 4);
        }
        pack_nibbles(&codes, &mut panel.codes, row);
        (panel.scales[row], panel.biases[row]) = (self.d, self.m);
    }
}
