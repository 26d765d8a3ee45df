//! Activations rounded to eight bits, in the order in which tiles read them.

use super::super::isa::Isa;
use super::super::simd::{LANES, Simd, per_isa};
use super::super::split;
use super::dot;
use crate::quant::BLOCK_LEN;

/// The codes of 32 columns of a row, in the order of a panel's: word `i` holds columns `i, i + 8, i + 16, i + 24`.
pub(super) type Codes = [[i8; 4]; 8];

/// Rows of activations, each 32 columns as `codes · step`.
///
/// Rows are kept in tiles, as [`tiles`] divides them: within a tile, the first block of every row, then the second.
#[derive(Debug, Default)]
pub(in super::super) struct Activations {
    pub(super) codes: Vec<Codes>,
    /// What a code counts.
    pub(super) steps: Vec<f32>,
    /// The sums of the rounded values.
    pub(super) sums: Vec<f32>,
    pub(super) rows: usize,
    /// In a row.
    pub(super) blocks: usize,
}

/// Activations that pay for another thread.
const LEAST_ELEMENTS: usize = 32 * 1024;

/// Cuts `rows` rows into tiles of `largest` and, at the end, of smaller powers of two: `(first, count)` of each.
pub(super) fn tiles(rows: usize, largest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = rows - first;
        let count = if left >= largest { largest } else { 1 << left.checked_ilog2()? };
        first += count;
        Some((first - count, count))
    })
}

impl Activations {
    /// Rounds the rows of `x`, `[rows, cols]`.
    ///
    /// # Panics
    /// If `cols` is no multiple of 32, or `x` not whole rows.
    pub(in super::super) fn round(&mut self, isa: Isa, x: &[f32], cols: usize) {
        assert!(cols.is_multiple_of(BLOCK_LEN) && x.len().is_multiple_of(cols));
        (self.rows, self.blocks) = (x.len() / cols, cols / BLOCK_LEN);
        let count = self.rows * self.blocks;
        self.codes.resize(count, [[0; 4]; 8]);
        self.steps.resize(count, 0.0);
        self.sums.resize(count, 0.0);
        let largest = dot::largest_tile(isa);
        // Whole tiles are shared among threads, so that none writes into another's.
        let rows = largest * (LEAST_ELEMENTS / (largest * cols)).max(1);
        let part = rows * self.blocks;
        let parts = self.codes.chunks_mut(part).zip(self.steps.chunks_mut(part)).zip(self.sums.chunks_mut(part));
        let mut parts: Vec<_> = parts.zip(x.chunks(rows * cols)).collect();
        split::chunks(&mut parts, 1, |_, parts| {
            let (((codes, steps), sums), x) = &mut parts[0];
            for (first, count) in tiles(x.len() / cols, largest) {
                let tile = first * self.blocks..(first + count) * self.blocks;
                let x = &x[first * cols..(first + count) * cols];
                round_tile(isa, x, count, &mut codes[tile.clone()], &mut steps[tile.clone()], &mut sums[tile]);
            }
        });
    }
}

per_isa! {
    fn round_tile(simd, x: &[f32], count: usize, codes: &mut [Codes], steps: &mut [f32], sums: &mut [f32]) {
        let blocks = codes.len() / count;
        for (row, x) in x.as_chunks::<BLOCK_LEN>().0.chunks_exact(blocks).enumerate() {
            for (block, x) in x.iter().enumerate() {
                let at = block * count + row;
                (codes[at], steps[at], sums[at]) = round_block(simd, x);
            }
        }
    }
}

/// Added to a number of less than 2²² in size, this rounds it to an integer, ties to even, and leaves that in the lowest
/// bits.
const INTEGERS: f32 = 1.5 * (1 << 23) as f32;

/// The codes of 32 numbers, their step, and the sum of what the codes stand for; that is not a number where one of them is
/// infinite or none.
#[inline(always)]
fn round_block<S: Simd>(simd: S, x: &[f32; BLOCK_LEN]) -> (Codes, f32, f32) {
    let [low, high] = x.as_chunks::<LANES>().0 else { unreachable!("two vectors") };
    let (low, high) = (simd.load(low), simd.load(high));
    let minus = simd.splat(-1.0);
    let sizes = simd.max(simd.max(low, simd.mul(low, minus)), simd.max(high, simd.mul(high, minus)));
    let step = simd.largest(sizes) / 127.0;
    // The reciprocal of a subnormal step could be infinite.
    let inverse = simd.splat(if step >= f32::MIN_POSITIVE { 1.0 / step } else { 0.0 });
    let (integers, minus_integers, zero) = (simd.splat(INTEGERS), simd.splat(-INTEGERS), simd.splat(0.0));
    let rounded = [simd.add(simd.mul(low, inverse), integers), simd.add(simd.mul(high, inverse), integers)];
    let sum = simd.add(simd.add(rounded[0], minus_integers), simd.add(rounded[1], minus_integers));
    // Zero, but for what is not finite.
    let broken = simd.add(simd.mul(low, zero), simd.mul(high, zero));
    let mut numbers = [[0.0; LANES]; 2];
    simd.store(rounded[0], &mut numbers[0]);
    simd.store(rounded[1], &mut numbers[1]);
    let [a, b, c, d] = numbers.as_flattened().as_chunks::<8>().0 else { unreachable!("four times eight") };
    let mut codes = [[0; 4]; 8];
    for (i, codes) in codes.iter_mut().enumerate() {
        // As one word, since that is what vector instructions can make of it.
        let [a, b, c, d] = [a[i], b[i], c[i], d[i]].map(|number| number.to_bits() & 255);
        *codes = bytemuck::cast(a | b << 8 | c << 16 | d << 24);
    }
    (codes, step, step * simd.sum(simd.add(sum, broken)))
}
