//! Activations rounded to eight bits, in the order in which tiles read them.

use super::super::isa::Isa;
use super::super::simd::{LANES, Simd, per_isa};
use super::super::split;
use super::dot;
use crate::quant::BLOCK_LEN;

/// 32 columns of a row, as `codes · step`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounded {
    /// In the words of a [`panel`](super::panel).
    pub(super) codes: [[i8; 4]; 8],
    /// What a code counts; not a number where a value is infinite or none.
    pub(super) step: f32,
    /// The sum of the rounded values.
    pub(super) sum: f32,
    /// The sums of the codes of the first sixteen columns and of the others.
    pub(super) counts: [i16; 2],
}

/// Rows of activations, kept in tiles, as [`tiles`] divides them: within a tile, the first block of every row, then the
/// second.
#[derive(Debug, Default)]
pub(in super::super) struct Activations {
    pub(super) rounded: Vec<Rounded>,
    pub(super) rows: usize,
    /// In a row.
    pub(super) blocks: usize,
}

/// The blocks that a thread rounds at once, of all rows of a tile: some 3 µs.
const AT_ONCE: usize = 128;

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
        self.rounded.resize(self.rows * self.blocks, Rounded::default());
        let mut parts = Vec::new();
        let mut rounded = &mut self.rounded[..];
        for (first, count) in tiles(self.rows, dot::largest_tile(isa)) {
            let (of_tile, others) = rounded.split_at_mut(count * self.blocks);
            let x = &x[first * cols..(first + count) * cols];
            let at_once = AT_ONCE / count;
            for (index, part) in of_tile.chunks_mut(count * at_once).enumerate() {
                parts.push(Part { x, cols, first: index * at_once, rounded: part });
            }
            rounded = others;
        }
        split::chunks(&mut parts, 1, |_, parts| round_part(isa, &mut parts[0]));
    }
}

/// Some blocks of all rows of a tile.
struct Part<'a> {
    /// The rows, `[rows, cols]`.
    x: &'a [f32],
    cols: usize,
    /// The first of the blocks.
    first: usize,
    rounded: &'a mut [Rounded],
}

per_isa! {
    fn round_part(simd, part: &mut Part<'_>) {
        let count = part.x.len() / part.cols;
        for (row, x) in part.x.chunks_exact(part.cols).enumerate() {
            let x = x.as_chunks::<BLOCK_LEN>().0[part.first..].iter();
            for (x, rounded) in x.zip(part.rounded.chunks_exact_mut(count)) {
                rounded[row] = round_block(simd, x);
            }
        }
    }
}

/// Added to a number of less than 2²² in size, this rounds it to an integer, ties to even, and leaves that in the lowest
/// bits.
const INTEGERS: f32 = 1.5 * (1 << 23) as f32;

#[inline(always)]
fn round_block<S: Simd>(simd: S, x: &[f32; BLOCK_LEN]) -> Rounded {
    let [low, high] = x.as_chunks::<LANES>().0 else { unreachable!("two vectors") };
    let (low, high) = (simd.load(low), simd.load(high));
    let minus = simd.splat(-1.0);
    let sizes = simd.max(simd.max(low, simd.mul(low, minus)), simd.max(high, simd.mul(high, minus)));
    let step = simd.largest(sizes) / 127.0;
    // The reciprocal of a subnormal step could be infinite.
    let inverse = simd.splat(if step >= f32::MIN_POSITIVE { 1.0 / step } else { 0.0 });
    let (integers, minus_integers, zero) = (simd.splat(INTEGERS), simd.splat(-INTEGERS), simd.splat(0.0));
    let rounded = [simd.add(simd.mul(low, inverse), integers), simd.add(simd.mul(high, inverse), integers)];
    // Zero, but for what is not finite.
    let broken = simd.add(simd.mul(low, zero), simd.mul(high, zero));
    let first = simd.sum(simd.add(simd.add(rounded[0], minus_integers), broken));
    let second = simd.sum(simd.add(rounded[1], minus_integers));
    let mut codes = [[0; 4]; 8];
    for (codes, rounded) in codes.as_chunks_mut::<4>().0.iter_mut().zip(rounded) {
        let mut numbers = [0.0; LANES];
        simd.store(rounded, &mut numbers);
        let [a, b, c, d] = numbers.as_chunks::<4>().0 else { unreachable!("four times four") };
        for (i, codes) in codes.iter_mut().enumerate() {
            // As one word, since that is what vector instructions can make of it.
            let [a, b, c, d] = [a[i], b[i], c[i], d[i]].map(|number| number.to_bits() & 255);
            *codes = bytemuck::cast(a | b << 8 | c << 16 | d << 24);
        }
    }
    Rounded {
        codes,
        // Of numbers, zero is added.
        step: step + 0.0 * first,
        sum: step * (first + second),
        counts: [first as i16, second as i16],
    }
}
