//! Five bits, and for each 32 columns a scale and a minimum of six bits: ggml's Q5_K.

use bytemuck::{Pod, Zeroable};

use super::q4_k::{Lines, low_bits};
use super::*;
use crate::quant::ggml::{BlockQ5K, QK_K};

/// 5.625 bits a weight, of 5.5 in a file, for the reason that [`PanelQ4K`] has.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(in super::super) struct PanelQ5K {
    codes: [Codes; QK_K / BLOCK_LEN],
    lines: Lines,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Codes {
    low: [Word<u8>; WORDS / 2],
    /// Bit `w` of a byte belongs to word `w`.
    high: Word<u8>,
}

/// Adds to `products` those of two words.
#[inline(always)]
fn add_line<D: Dot, const M: usize>(
    dot: D,
    codes: &Codes,
    high: D::Codes,
    line: usize,
    x: &[Rounded; M],
    products: &mut [D::Sums; M],
) {
    let [even, odd] = dot.unpack(&codes.low[line]);
    add_word(dot, dot.with_high_bits(even, high, 2 * line as u32, 1), 2 * line, x, products);
    add_word(dot, dot.with_high_bits(odd, high, 2 * line as u32 + 1, 1), 2 * line + 1, x, products);
}

impl Panel for PanelQ5K {
    const BLOCKS: usize = QK_K / BLOCK_LEN;

    #[inline(always)]
    fn add_block<D: Dot, const M: usize>(&self, block: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]) {
        let codes = &self.codes[block];
        let high = dot.load(&codes.high);
        let mut products = [dot.start(0); M];
        // Written out, so that shifts are constants.
        add_line(dot, codes, high, 0, x, &mut products);
        add_line(dot, codes, high, 1, x, &mut products);
        make_room(dot, &mut products);
        add_line(dot, codes, high, 2, x, &mut products);
        add_line(dot, codes, high, 3, x, &mut products);
        self.lines.add(block, dot, x, products, totals);
    }

    fn dequantize(&self, row: usize, out: &mut [f32]) {
        for (block, out) in out.chunks_exact_mut(BLOCK_LEN).enumerate() {
            let Codes { low, high } = &self.codes[block];
            let mut codes = nibbles(low, row);
            for word in 0..WORDS {
                for (column, high) in columns(word).into_iter().zip(high[row]) {
                    codes[column] |= (high >> word & 1) << 4;
                }
            }
            self.lines.dequantize(block, row, codes, out);
        }
    }
}

impl PackInto<PanelQ5K> for BlockQ5K {
    fn pack_into(&self, panel: &mut PanelQ5K, row: usize) {
        for (block, Codes { low, high }) in panel.codes.iter_mut().enumerate() {
            pack_nibbles(&low_bits(&self.qs, block), low, row);
            for word in 0..WORDS {
                for (high, column) in high[row].iter_mut().zip(columns(word)) {
                    *high |= (self.qh[column] >> block & 1) << word;
                }
            }
        }
        panel.lines.pack(&self.scales, self.d, self.dmin, row);
    }
}
