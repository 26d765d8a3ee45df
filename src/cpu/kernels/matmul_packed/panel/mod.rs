//! How weights lie in memory: sixteen rows side by side, in the order in which they are read.
//!
//! A panel holds one block of each of sixteen rows, all of the same columns, one row a lane. What limits decoding is
//! memory, so that a panel has as many bytes as the blocks have in a file, or hardly more: small scales of six bits become
//! bytes.
//!
//! Columns are taken in *words* of four, one byte a row, for which instruction sets have integer products. Word `w` of 32
//! columns is columns `16 ⌊w / 4⌋ + w mod 4 + {0, 4, 8, 12}`: a word lies within sixteen columns, since those may have a
//! scale of their own, and two words share the bytes of our own four-bit blocks, so that packing those moves bytes and no
//! nibbles.

mod q4;
mod q4_0;
mod q4_k;
mod q5_k;
mod q6_k;
mod q8_0;

use bytemuck::Pod;
pub(super) use q4::PanelQ4;
pub(super) use q4_0::PanelQ4_0;
pub(super) use q4_k::PanelQ4K;
pub(super) use q5_k::PanelQ5K;
pub(super) use q6_k::PanelQ6K;
pub(super) use q8_0::PanelQ8_0;

use super::super::simd::{LANES, Simd};
use super::activations::Rounded;
use super::dot::Dot;
use crate::quant::{BLOCK_LEN, QuantBlock};

/// Rows in a panel: one for each lane.
pub const PANEL_ROWS: usize = LANES;

/// Four columns of each of sixteen rows.
pub(super) type Word<T> = [[T; 4]; PANEL_ROWS];

/// Words of 32 columns.
pub(super) const WORDS: usize = BLOCK_LEN / 4;

/// The sixteen lanes of a dot product's sums in single precision.
type V<D> = <<D as Dot>::Simd as Simd>::V;

/// One block of each of sixteen rows, interleaved.
pub(super) trait Panel: Pod + Send + Sync {
    /// Blocks of 32 columns in it.
    const BLOCKS: usize;

    /// Adds to `totals` what 32 columns give with as many rows of `x`.
    fn add_block<D: Dot, const M: usize>(&self, block: usize, dot: D, x: &[Rounded; M], totals: &mut [V<D>; M]);

    /// Writes the weights of one of the rows in single precision, exactly as its block in the file says.
    fn dequantize(&self, row: usize, out: &mut [f32]);
}

/// How a block becomes one of the rows of a panel.
pub(super) trait PackInto<P: Panel>: QuantBlock {
    /// Puts it there; what was there is zero.
    fn pack_into(&self, panel: &mut P, row: usize);
}

/// The columns of a word, of 32.
#[inline(always)]
const fn columns(word: usize) -> [usize; 4] {
    let first = word / 4 * 16 + word % 4;
    [first, first + 4, first + 8, first + 12]
}

/// Writes codes of four bits, the low halves of `codes`, into one row of `lines`: line `j` holds word `2j` in its low
/// halves and the word after it in its high halves.
fn pack_nibbles(codes: &[u8; BLOCK_LEN], lines: &mut [Word<u8>; WORDS / 2], row: usize) {
    for (j, line) in lines.iter_mut().enumerate() {
        let (low, high) = (columns(2 * j), columns(2 * j + 1));
        line[row] = std::array::from_fn(|i| codes[low[i]] & 15 | codes[high[i]] << 4);
    }
}

/// What [`pack_nibbles`] wrote.
fn nibbles(lines: &[Word<u8>; WORDS / 2], row: usize) -> [u8; BLOCK_LEN] {
    let mut codes = [0; BLOCK_LEN];
    for (j, line) in lines.iter().enumerate() {
        for (i, byte) in line[row].into_iter().enumerate() {
            codes[columns(2 * j)[i]] = byte & 15;
            codes[columns(2 * j + 1)[i]] = byte >> 4;
        }
    }
    codes
}

/// Adds to `products` those of a word.
#[inline(always)]
fn add_word<D: Dot, const M: usize>(
    dot: D,
    codes: D::Codes,
    word: usize,
    x: &[Rounded; M],
    products: &mut [D::Sums; M],
) {
    for m in 0..M {
        products[m] = dot.add_products(products[m], codes, x[m].codes[word]);
    }
}

/// Sums to add to which begin at `offset` times the sum of the codes of `x`, of half of 32 columns or of all: what makes
/// codes count from `offset` on.
#[inline(always)]
fn from_offset<D: Dot, const M: usize>(
    dot: D,
    offset: i32,
    x: &[Rounded; M],
    halves: std::ops::Range<usize>,
) -> [D::Sums; M] {
    let mut sums = [dot.start(0); M];
    for m in 0..M {
        let mut count = 0;
        for half in halves.clone() {
            count += i32::from(x[m].counts[half]);
        }
        sums[m] = dot.start(offset * count);
    }
    sums
}

/// Makes room for more products of codes of more than four bits.
#[inline(always)]
fn make_room<D: Dot, const M: usize>(dot: D, products: &mut [D::Sums; M]) {
    for products in products {
        *products = dot.make_room(*products);
    }
}

/// Adds to `totals` the products, each lane with its scale.
#[inline(always)]
fn add_scaled<D: Dot, const M: usize>(
    dot: D,
    scales: V<D>,
    x: &[Rounded; M],
    products: [D::Sums; M],
    totals: &mut [V<D>; M],
) {
    let simd = dot.simd();
    for m in 0..M {
        let scale = simd.mul(scales, simd.splat(x[m].step));
        totals[m] = simd.fma(dot.to_f32(products[m]), scale, totals[m]);
    }
}

/// Adds to `totals` the sums of `x`, each lane with its bias.
#[inline(always)]
fn add_biases<D: Dot, const M: usize>(dot: D, biases: V<D>, x: &[Rounded; M], totals: &mut [V<D>; M]) {
    for m in 0..M {
        totals[m] = dot.simd().fma(biases, dot.simd().splat(x[m].sum), totals[m]);
    }
}

/// Adds to `products` those of codes of four bits.
#[inline(always)]
fn add_nibbles<D: Dot, const M: usize>(
    dot: D,
    lines: &[Word<u8>; WORDS / 2],
    x: &[Rounded; M],
    products: &mut [D::Sums; M],
) {
    for (j, line) in lines.iter().enumerate() {
        let [low, high] = dot.unpack(line);
        add_word(dot, low, 2 * j, x, products);
        add_word(dot, high, 2 * j + 1, x, products);
    }
}
