//! Many rows of `x`: a block of weights is widened once and meets all of them.
//!
//! What limits is the multiply-adds, two a cycle, if everything else stays out of their way:
//! 1. A tile of 6 rows of `x` and 4 of weights needs 10 loads for 24 multiply-adds, where 2 loads a cycle come for free.
//! 2. The 6 rows of `x` stay in the first-level cache while all weights of the block pass by, which come from the
//!    second. Where rows are longer than [`CHUNK_COLS`], they are taken in chunks, and unfinished sums wait in memory.
//! 3. Sums are finished sixteen at a time.

use std::ops::Range;

use super::super::columns::Columns;
use super::super::isa::Isa;
use super::super::simd::{LANES, Line, Simd, flat, flat_mut, per_isa};
use super::super::split::with_scratch;
use super::tile::{Element, load_part, multiply, rows_from, write};
use super::weights::WeightSlice;

/// Rows of weights in a block: 448 kB widened where rows have 3584 columns, a quarter of a second-level cache.
pub(super) const BLOCK_ROWS: usize = 32;

/// Rows of `x` in the largest tile.
const MOST_TILE_ROWS: usize = 6;

/// Columns in a chunk: 6 rows of `x` take 24 kB, half a first-level cache.
const CHUNK_COLS: usize = 1024;

/// Fills a product of all rows of `x` and all weights.
pub(super) fn rows(isa: Isa, x: &[f32], cols: usize, weights: WeightSlice<'_>, out: &mut Columns<'_>) {
    let (rows, lines) = (out.width(), cols.div_ceil(LANES));
    with_scratch(BLOCK_ROWS * (lines + MOST_TILE_ROWS), |scratch| {
        let (block, unfinished) = scratch.split_at_mut(BLOCK_ROWS * lines);
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let rows = first..rows.min(first + BLOCK_ROWS);
            let weights = weights.slice(rows.start * cols..rows.end * cols);
            one_block(isa, x, cols, weights, out, rows, block, unfinished);
        }
    });
}

per_isa! {
    fn one_block(
        simd,
        x: &[f32],
        cols: usize,
        weights: WeightSlice<'_>,
        out: &mut Columns<'_>,
        rows: Range<usize>,
        block: &mut [Line],
        unfinished: &mut [Line],
    ) {
        widen(simd, weights, cols, block);
        if S::WIDE {
            all_rows::<S, MOST_TILE_ROWS, 4>(simd, x, cols, out, rows, flat(block), unfinished);
        } else {
            all_rows::<S, 3, 2>(simd, x, cols, out, rows, flat(block), unfinished);
        }
    }
}

#[inline(always)]
fn all_rows<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    cols: usize,
    out: &mut Columns<'_>,
    rows: Range<usize>,
    block: &[f32],
    unfinished: &mut [Line],
) {
    for start in (0..x.len() / cols).step_by(M) {
        meet::<S, M, N>(simd, x, cols, start, block, unfinished, out, rows.clone());
    }
}

/// Widens rows of weights to f32, each starting on a line of its own.
#[inline(always)]
fn widen<S: Simd>(simd: S, weights: WeightSlice<'_>, cols: usize, block: &mut [Line]) {
    match weights {
        WeightSlice::F32(weights) => widen_rows(simd, weights, cols, block),
        WeightSlice::F16(weights) => widen_rows(simd, weights, cols, block),
        WeightSlice::Bf16(weights) => widen_rows(simd, weights, cols, block),
        WeightSlice::Blocks { blocks, first, len } => {
            let pitch = cols.next_multiple_of(LANES);
            for (row, to) in (0..len / cols).zip(flat_mut(block).chunks_exact_mut(pitch)) {
                let (to, rest) = to.split_at_mut(cols);
                blocks.dequantize(first + row * cols, to);
                rest.fill(0.0);
            }
        }
    }
}

#[inline(always)]
fn widen_rows<S: Simd, W: Element>(simd: S, weights: &[W], cols: usize, block: &mut [Line]) {
    for (from, to) in weights.chunks_exact(cols).zip(block.chunks_exact_mut(cols.div_ceil(LANES))) {
        let (whole, rest) = from.as_chunks::<LANES>();
        for (from, to) in whole.iter().zip(&mut *to) {
            simd.store(W::load(simd, from), &mut to.0);
        }
        if let (false, Some(last)) = (rest.is_empty(), to.last_mut()) {
            simd.store(load_part(simd, rest), &mut last.0);
        }
    }
}

/// `M` rows of `x` from `start` on meet all the weights of a block.
#[inline(always)]
fn meet<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    cols: usize,
    start: usize,
    block: &[f32],
    unfinished: &mut [Line],
    out: &mut Columns<'_>,
    rows: Range<usize>,
) {
    let (m, pitch) = (x.len() / cols, cols.next_multiple_of(LANES));
    for chunk in (0..cols).step_by(CHUNK_COLS) {
        let chunk = chunk..cols.min(chunk + CHUNK_COLS);
        let rows_of_x = rows_from::<f32, M>(x, cols, start, m, chunk.clone());
        for (first, saved) in (0..rows.len()).step_by(N).zip(unfinished.chunks_exact_mut(M * N)) {
            let w = rows_from::<f32, N>(block, pitch, first, rows.len(), chunk.clone());
            let mut tile = [[simd.splat(0.0); N]; M];
            if chunk.start > 0 {
                for (sum, saved) in tile.as_flattened_mut().iter_mut().zip(&*saved) {
                    *sum = simd.load(&saved.0);
                }
            }
            multiply(simd, rows_of_x, w, &mut tile, None);
            if chunk.end < cols {
                for (sum, saved) in tile.as_flattened().iter().zip(saved) {
                    simd.store(*sum, &mut saved.0);
                }
                continue;
            }
            let columns = rows.start + first..rows.start + (first + N).min(rows.len());
            write(simd, &tile, out, start, columns);
        }
    }
}
