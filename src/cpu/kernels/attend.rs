//! Causal softmax attention over a cache of keys and values, with several query heads to each of them
//! (`eager_attention_forward` in transformers' models/qwen3_5; the softmax is the online one of Milakov and
//! Gimelshein, "Online normalizer calculation for softmax", 2018).
//!
//! 1. Positions are cut at multiples of [`BLOCK`] and of [`SEGMENT`], counted from position 0, and queries into tiles.
//! 2. For each block: `s = (q k) * head_dim^-0.5`, up to the query's own position; the running maximum `m` grows to
//!    `m'`; the running sum and output shrink by `exp(m - m')`; `p = exp(s - m')` is added to the sum and `p v` to the
//!    output, position by position.
//! 3. Segments begin with empty sums, so that several threads may share a long context. Their sums and outputs are
//!    shrunk to a common maximum and added, in order.
//! 4. `out = output / sum`.
//!
//! Blocks and segments do not move with the call, and each row ends at its own position: its bits depend on nothing
//! else. Every key and value is read once for all query heads that share it, and once per tile.

mod fold;
mod panel;
mod sweep;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::fold::{divide, fold};
use self::sweep::{pack_queries, scratch_lines, sweep};
use super::isa::Isa;
use super::pool;
use super::simd::{LANES, Line, flat, flat_mut};
use super::split::{self, Disjoint, with_scratch};
use crate::tally;

/// The positions between two rescalings: the keys of a block stay in the nearest cache for all rows of a tile.
const BLOCK: usize = 32;

/// The scores of one row in one block, later their exponentials.
type Scores = [f32; BLOCK];

/// The positions that are summed from scratch: a whole number of blocks.
const SEGMENT: usize = 512;

/// The rows that share what is read from the cache: some queries of each head of a group.
const TILE_ROWS: usize = 64;

/// The multiplications from which another thread pays.
const LEAST_PRODUCTS: usize = 256 * 1024;

/// The heads of one layer. Consecutive query heads share a key and value head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttendShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, each shared by as many query heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl AttendShape {
    /// The query heads of each key and value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The vectors that a row of a head takes in scratch memory.
    fn lines(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }
}

/// Attends from `queries` `[rows, heads, head_dim]`, which are at `first_position` and after, into `out` of the same
/// shape. `keys` and `values` have `[positions, head_dim]` for each of their heads, including those of the rows.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn attend<C: AsRef<[f32]>>(
    isa: Isa,
    shape: AttendShape,
    queries: &[f32],
    keys: &[C],
    values: &[C],
    first_position: usize,
    out: &mut [f32],
) {
    let width = shape.heads * shape.head_dim;
    let rows = check(shape, queries, out);
    let positions = first_position + rows;
    for cache in [keys, values] {
        assert_eq!(cache.len(), shape.kv_heads, "a cache for each key and value head");
        let enough = |head: &C| head.as_ref().len() >= positions * shape.head_dim;
        assert!(cache.iter().all(enough), "keys and values of {positions} positions");
    }
    let products = rows * (first_position + positions + 1) * width;
    let cached = 2 * shape.kv_heads * positions * shape.head_dim;
    tally::add((2 * queries.len() + cached) * size_of::<f32>(), 2 * products);
    let call = Call {
        isa,
        shape,
        queries,
        keys: keys.iter().map(AsRef::as_ref).collect(),
        values: values.iter().map(AsRef::as_ref).collect(),
        first_position,
        scale: (shape.head_dim as f64).powf(-0.5) as f32,
    };
    let tiles = call.tiles(rows);
    let threads = if products < LEAST_PRODUCTS { 1 } else { pool::threads() };
    let out = Disjoint::new(out);
    if threads == 1 {
        tiles.iter().for_each(|tile| by_tile(&call, tile, &out));
    } else if tiles.len() >= 2 * threads || positions <= SEGMENT {
        split::each(tiles.len(), |index| by_tile(&call, &tiles[index], &out));
    } else {
        tiles.iter().for_each(|tile| by_segment(&call, tile, &out));
    }
}

/// The rows of a call.
fn check(shape: AttendShape, queries: &[f32], out: &[f32]) -> usize {
    let width = shape.heads * shape.head_dim;
    assert!(width > 0 && shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads), "{shape:?}");
    assert!(queries.len().is_multiple_of(width) && out.len() == queries.len(), "whole rows of {shape:?}");
    queries.len() / width
}

/// The arguments of [`attend`].
struct Call<'a> {
    isa: Isa,
    shape: AttendShape,
    queries: &'a [f32],
    keys: Vec<&'a [f32]>,
    values: Vec<&'a [f32]>,
    first_position: usize,
    scale: f32,
}

/// Some queries of the heads that share a key and value head. The rows of a tile are its queries, and within each
/// query the heads.
struct Tile {
    kv_head: usize,
    queries: Range<usize>,
}

impl Call<'_> {
    /// The tiles of a call, those with the most positions first.
    fn tiles(&self, rows: usize) -> Vec<Tile> {
        let per_tile = (TILE_ROWS / self.shape.group()).max(1);
        let starts = (0..rows).step_by(per_tile).rev();
        let tile = |start: usize, kv_head| Tile { kv_head, queries: start..rows.min(start + per_tile) };
        starts.flat_map(|start| (0..self.shape.kv_heads).map(move |kv_head| tile(start, kv_head))).collect()
    }

    /// The position of a query.
    fn position(&self, query: usize) -> usize {
        self.first_position + query
    }

    /// The segments that the queries of a tile see.
    fn segments(&self, tile: &Tile) -> usize {
        self.position(tile.queries.end).div_ceil(SEGMENT)
    }

    /// Where the heads of one query of a tile start in the queries and in the output.
    fn start(&self, tile: &Tile, query: usize) -> usize {
        (query * self.shape.heads + tile.kv_head * self.shape.group()) * self.shape.head_dim
    }

    fn rows(&self, tile: &Tile) -> usize {
        tile.queries.len() * self.shape.group()
    }
}

/// The running softmax of the rows of a tile.
struct Running<'a> {
    max: &'a mut [f32],
    sum: &'a mut [f32],
    /// `[rows, lines]`
    out: &'a mut [Line],
}

impl<'a> Running<'a> {
    /// The lines that [`over`](Self::over) takes.
    fn lines(shape: AttendShape, rows: usize) -> usize {
        rows * shape.lines() + 2 * rows.div_ceil(LANES)
    }

    fn over(lines: &'a mut [Line], shape: AttendShape, rows: usize) -> Self {
        let (out, rest) = lines.split_at_mut(rows * shape.lines());
        let (max, sum) = rest.split_at_mut(rows.div_ceil(LANES));
        Self { max: &mut flat_mut(max)[..rows], sum: &mut flat_mut(sum)[..rows], out }
    }
}

/// Runs a tile through its segments on one thread.
fn by_tile(call: &Call<'_>, tile: &Tile, out: &Disjoint<'_>) {
    let rows = call.rows(tile);
    let lines = Running::lines(call.shape, rows);
    with_scratch(2 * lines + scratch_lines(call.shape, rows), |scratch| {
        let (total, scratch) = scratch.split_at_mut(lines);
        let (next, scratch) = scratch.split_at_mut(lines);
        let mut total = Running::over(total, call.shape, rows);
        pack_queries(call, tile, scratch);
        sweep(call.isa, call, tile, 0, &mut total, scratch);
        for segment in 1..call.segments(tile) {
            let mut next = Running::over(next, call.shape, rows);
            sweep(call.isa, call, tile, segment, &mut next, scratch);
            fold(call.isa, call, tile, segment, &mut total, &next);
        }
        finish(call, tile, &mut total, out);
    });
}

/// Runs the segments of a tile on as many threads as there are.
fn by_segment(call: &Call<'_>, tile: &Tile, out: &Disjoint<'_>) {
    let rows = call.rows(tile);
    let lines = Running::lines(call.shape, rows);
    let mut segments = vec![Line::ZERO; lines * call.segments(tile)];
    split::chunks(&mut segments, lines, |segment, lines| {
        let mut running = Running::over(lines, call.shape, rows);
        with_scratch(scratch_lines(call.shape, rows), |scratch| {
            pack_queries(call, tile, scratch);
            sweep(call.isa, call, tile, segment, &mut running, scratch);
        });
    });
    let (total, rest) = segments.split_at_mut(lines);
    let mut total = Running::over(total, call.shape, rows);
    for (next, segment) in rest.chunks_exact_mut(lines).zip(1..) {
        let next = Running::over(next, call.shape, rows);
        fold(call.isa, call, tile, segment, &mut total, &next);
    }
    finish(call, tile, &mut total, out);
}

/// Divides the outputs of a tile by their sums and puts them in their places.
fn finish(call: &Call<'_>, tile: &Tile, total: &mut Running<'_>, out: &Disjoint<'_>) {
    divide(call.isa, call, total);
    let (group, head_dim) = (call.shape.group(), call.shape.head_dim);
    let queries = total.out.chunks_exact(group * call.shape.lines());
    for (query, rows) in tile.queries.clone().zip(queries) {
        let start = call.start(tile, query);
        // SAFETY: tiles do not share rows, and no other thread works on this one any more.
        let to = unsafe { out.piece(start..start + group * head_dim) };
        for (to, row) in to.chunks_exact_mut(head_dim).zip(rows.chunks_exact(call.shape.lines())) {
            to.copy_from_slice(&flat(row)[..head_dim]);
        }
    }
}
