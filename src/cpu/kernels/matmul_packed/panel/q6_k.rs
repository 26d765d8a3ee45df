//! Six bits about zero, and a scale of eight bits for each sixteen columns: ggml's Q6_K.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::super::simd::Simd;
use super::*;
use crate::quant::ggml::{BlockQ6K, QK_K};

/// 6.5625 bits a weight, as in a file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(32))]
pub(in super::super) struct PanelQ6K {
    codes: [Codes; QK_K / BLOCK_LEN],
    scales: [[i8; PANEL_ROWS]; QK_K / 16],
    d: [f16; PANEL_ROWS],
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Codes {
    low: [Word<u8>; WORDS / 2],
    /// A line for each half of the columns. From the lowest two bits of a byte on, they belong to a word each.
    high: [Word<u8>; 2],
}

impl Panel for PanelQ6K {
    const BLOCKS: usize = QK_K / BLOCK_LEN;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, block: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let simd = dot.simd();
        let Codes { low, high } = &self.codes[block];
        let d = simd.load_f16(&self.d);
        for half in 0..2 {
            let mut products = from_offset(dot, -32, x, half..half + 1);
            let high = dot.load(&high[half]);
            for j in 0..2 {
                let [even, odd] = dot.unpack(&low[2 * half + j]);
                let word = 4 * half + 2 * j;
                add_word(dot, dot.with_high_bits(even, high, 4 * j as u32, 3), word, x, &mut products);
                add_word(dot, dot.with_high_bits(odd, high, 4 * j as u32 + 2, 3), word + 1, x, &mut products);
                if j == 0 {
                    make_room(dot, &mut products);
                }
            }
            add_scaled(dot, simd.mul(d, simd.load_i8(&self.scales[2 * block + half])), x, products, totals);
        }
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        let d = self.d[row].to_f32();
        for (block, out) in out.chunks_exact_mut(BLOCK_LEN).enumerate() {
            let Codes { low, high } = &self.codes[block];
            let low = nibbles(low, row);
            for word in 0..WORDS {
                let scale = d * f32::from(self.scales[2 * block + word / 4][row]);
                for (column, high) in columns(word).into_iter().zip(high[word / 4][row]) {
                    let code = low[column] | (high >> (2 * (word % 4)) & 3) << 4;
                    out[column] = scale * f32::from(code as i8 - 32);
                }
            }
        }
    }
}

impl PackInto<PanelQ6K> for BlockQ6K {
    fn pack_into(&self, panel: &mut PanelQ6K, row: usize) {
        let codes = self.codes();
        for (Codes { low, high }, codes) in panel.codes.iter_mut().zip(codes.as_chunks().0) {
            pack_nibbles(codes, low, row);
            for word in 0..WORDS {
                for (high, column) in high[word / 4][row].iter_mut().zip(columns(word)) {
                    *high |= (codes[column] >> 4) << (2 * (word % 4));
                }
            }
        }
        for (scales, scale) in panel.scales.iter_mut().zip(self.scales) {
            scales[row] = scale;
        }
        panel.d[row] = self.d;
    }
}
