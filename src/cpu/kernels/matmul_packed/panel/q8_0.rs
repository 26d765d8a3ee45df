//! Eight bits about zero: ggml's Q8_0.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::super::simd::Simd;
use super::*;
use crate::quant::ggml::BlockQ8_0;

/// Eight and a half bits a weight, as in a file: a line for each word.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(32))]
pub(in super::super) struct PanelQ8_0 {
    codes: [Word<i8>; WORDS],
    scales: [f16; PANEL_ROWS],
}

impl Panel for PanelQ8_0 {
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, _: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let mut products = from_offset(dot, D::SIGNED_OFFSET, x, 0..2);
        for (word, line) in self.codes.iter().enumerate() {
            let codes = dot.signed(line);
            for m in 0..M {
                products[m] = dot.add_signed_products(products[m], codes, x[m].codes[word]);
            }
        }
        add_scaled(dot, dot.simd().load_f16(&self.scales), x, products, totals);
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        let scale = self.scales[row].to_f32();
        for (word, line) in self.codes.iter().enumerate() {
            for (column, code) in columns(word).into_iter().zip(line[row]) {
                out[column] = f32::from(code) * scale;
            }
        }
    }
}

impl PackInto<PanelQ8_0> for BlockQ8_0 {
    fn pack_into(&self, panel: &mut PanelQ8_0, row: usize) {
        for (word, line) in panel.codes.iter_mut().enumerate() {
            line[row] = columns(word).map(|column| self.qs[column]);
        }
        panel.scales[row] = self.d;
    }
}
