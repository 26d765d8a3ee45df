//! Four bits, and for each 32 columns a scale and a minimum of six bits: ggml's Q4_K.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::super::simd::Simd;
use super::*;
use crate::quant::ggml::{BlockQ4K, QK_K, scales_and_mins};

/// 4.625 bits a weight, of 4.5 in a file: scales and minima are bytes here, since putting together six bits of sixteen rows
/// would take longer than reading two more.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(in super::super) struct PanelQ4K {
    codes: [[Word<u8>; WORDS / 2]; QK_K / BLOCK_LEN],
    lines: Lines,
}

/// What codes of 256 columns are multiplied with, and what is taken away then, for each 32.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Lines {
    scales: [[u8; PANEL_ROWS]; QK_K / BLOCK_LEN],
    mins: [[u8; PANEL_ROWS]; QK_K / BLOCK_LEN],
    d: [f16; PANEL_ROWS],
    dmin: [f16; PANEL_ROWS],
}

impl Lines {
    pub(super) fn pack(&mut self, scales: &[u8; 12], d: f16, dmin: f16, row: usize) {
        for (block, (scale, min)) in scales_and_mins(scales).into_iter().enumerate() {
            (self.scales[block][row], self.mins[block][row]) = (scale, min);
        }
        // The minimum is taken away: as a bias it has the other sign.
        (self.d[row], self.dmin[row]) = (d, -dmin);
    }

    /// Adds to `totals` the products of 32 columns. Both factors are exact, as those of ggml.
    #[inline(always)]
    pub(super) fn add<D: Dot, const M: usize>(
        &self,
        block: usize,
        dot: D,
        x: &[Rounded; M],
        products: [D::Sums; M],
        totals: &mut [V<D>; M],
    ) {
        let simd = dot.simd();
        let scales = simd.mul(simd.load_f16(&self.d), simd.load_u8(&self.scales[block]));
        let biases = simd.mul(simd.load_f16(&self.dmin), simd.load_u8(&self.mins[block]));
        add_scaled(dot, scales, x, products, totals);
        add_biases(dot, biases, x, totals);
    }

    /// The weights of 32 columns of a row, of their codes.
    pub(super) fn dequantize(&self, block: usize, row: usize, codes: [u8; BLOCK_LEN], out: &mut [f32]) {
        let scale = self.d[row].to_f32() * f32::from(self.scales[block][row]);
        let min = (-self.dmin[row]).to_f32() * f32::from(self.mins[block][row]);
        for (out, code) in out.iter_mut().zip(codes) {
            *out = scale * f32::from(code) - min;
        }
    }
}

/// The low four bits of 256 codes, as ggml has them in its types with four bits and five.
pub(super) fn low_bits(qs: &[u8; QK_K / 2], block: usize) -> [u8; BLOCK_LEN] {
    let shift = block % 2 * 4;
    std::array::from_fn(|l| qs[block / 2 * BLOCK_LEN + l] >> shift & 15)
}

impl Panel for PanelQ4K {
    const BLOCKS: usize = QK_K / BLOCK_LEN;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, block: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let mut products = [dot.start(0); M];
        add_nibbles(dot, &self.codes[block], x, &mut products);
        self.lines.add(block, dot, x, products, totals);
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        for (block, out) in out.chunks_exact_mut(BLOCK_LEN).enumerate() {
            self.lines.dequantize(block, row, nibbles(&self.codes[block], row), out);
        }
    }
}

impl PackInto<PanelQ4K> for BlockQ4K {
    fn pack_into(&self, panel: &mut PanelQ4K, row: usize) {
        for (block, lines) in panel.codes.iter_mut().enumerate() {
            pack_nibbles(&low_bits(&self.qs, block), lines, row);
        }
        panel.lines.pack(&self.scales, self.d, self.dmin, row);
    }
}
