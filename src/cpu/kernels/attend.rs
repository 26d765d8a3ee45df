//! Causal softmax attention over a cache of keys and values, with several query heads to each of them
//! (`eager_attention_forward` in transformers' models/qwen3_5; the softmax is the online one of Milakov and
//! Gimelshein, "Online normalizer calculation for softmax", 2018).
//!
//! 1. Positions are cut at multiples of [`KV_BLOCK`] and of [`SEGMENT`], counted from position 0, and queries into tiles.
//! 2. For each block: keys and values in half precision are widened, once for all rows of a tile; what follows is the same
//!    to the last bit as over numbers in single precision that are those halves.
//! 3. `s = (q k) * head_dim^-0.5`, up to the query's own position, where the products of even and of odd elements are summed
//!    apart, in order; the running maximum `m` grows to `m'`; the running sum and output shrink by `exp(m - m')`;
//!    `p = exp(s - m')` is added to the sum and `p v` to the output, position by position.
//! 4. Segments begin with empty sums, so that several threads may share a long context. Their sums and outputs are
//!    shrunk to a common maximum and added, in order.
//! 5. `out = output / sum`.
//!
//! Blocks and segments do not move with the call, and each row ends at its own position: its bits depend on nothing
//! else. Every key and value is read once for all query heads that share it, and once per tile.

mod call;
mod fold;
mod keys;
mod panel;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use call::AttendShape;
use call::{Call, Running, SEGMENT, Tile};
use fold::{divide_by_sums, fold};
use sweep::{pack_queries, scratch_lines, sweep};

use super::columns::Columns;
use super::isa::Isa;
use super::kv_block::{KV_BLOCK, KvBlock};
use super::simd::{Line, flat};
use super::split::with_scratch;
use super::{pool, split};
use crate::tally;

/// The rows that share what is read from the cache: some queries of each head of a group.
const TILE_ROWS: usize = 64;

/// The multiplications from which another thread pays.
const LEAST_PRODUCTS: usize = 256 * 1024;

/// Attends from `queries` `[rows, heads, head_dim]`, which are at `first_position` and after, into `out` of the same
/// shape. `blocks` have the keys and values of all positions from 0 on, including those of the rows.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn attend(
    isa: Isa,
    shape: AttendShape,
    queries: &[f32],
    blocks: &[Arc<KvBlock>],
    first_position: usize,
    out: &mut [f32],
) {
    let rows = check(shape, queries, out);
    let positions = first_position + rows;
    let Some(blocks) = blocks.get(..positions.div_ceil(KV_BLOCK)) else {
        panic!("{} blocks for {positions} positions", blocks.len());
    };
    let products = rows * (first_position + positions + 1) * shape.width();
    let cached = blocks.iter().map(|block| block.size()).sum::<usize>();
    tally::add(size_of_val(queries) + size_of_val(out) + cached, 2 * products);
    let call = Call {
        isa,
        shape,
        queries,
        blocks: blocks.iter().map(|block| block.view()).collect(),
        first_position,
        scale: (shape.head_dim as f64).powf(-0.5) as f32,
    };
    let mut tasks = divide(shape, out);
    let threads = if products < LEAST_PRODUCTS { 1 } else { pool::threads() };
    if threads == 1 {
        tasks.iter_mut().for_each(|task| by_tile(&call, task));
    } else if tasks.len() >= 2 * threads || positions <= SEGMENT {
        split::chunks(&mut tasks, 1, |_, task| by_tile(&call, &mut task[0]));
    } else {
        tasks.iter_mut().for_each(|task| by_segment(&call, task));
    }
}

/// The rows of a call.
fn check(shape: AttendShape, queries: &[f32], out: &[f32]) -> usize {
    let width = shape.width();
    assert!(width > 0 && shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads), "{shape:?}");
    assert!(queries.len().is_multiple_of(width) && out.len() == queries.len(), "whole rows of {shape:?}");
    queries.len() / width
}

/// A tile, and its place in the output.
struct Task<'a> {
    tile: Tile,
    out: Columns<'a>,
}

/// The tiles of a call, those with the most positions first.
fn divide(shape: AttendShape, out: &mut [f32]) -> Vec<Task<'_>> {
    let (width, per_tile) = (shape.width(), (TILE_ROWS / shape.group()).max(1));
    let mut tasks = Vec::new();
    for (index, out) in out.chunks_mut(per_tile * width).enumerate().rev() {
        let (start, count) = (index * per_tile, out.len() / width);
        let mut columns = Columns::new(out, count, width, width);
        tasks.extend((0..shape.kv_heads).map(|kv_head| {
            let tile = Tile { kv_head, queries: start..start + count };
            Task { tile, out: columns.take(shape.group() * shape.head_dim) }
        }));
    }
    tasks
}

/// Runs a tile through its segments on one thread.
fn by_tile(call: &Call<'_>, Task { tile, out }: &mut Task<'_>) {
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
        finish(call, &mut total, out);
    });
}

/// Runs the segments of a tile on as many threads as there are.
fn by_segment(call: &Call<'_>, Task { tile, out }: &mut Task<'_>) {
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
    finish(call, &mut total, out);
}

/// Divides the outputs of a tile by their sums and puts them in their places.
fn finish(call: &Call<'_>, total: &mut Running<'_>, out: &mut Columns<'_>) {
    divide_by_sums(call.isa, call, total);
    let (lines, head_dim) = (call.shape.lines(), call.shape.head_dim);
    for (query, rows) in total.out.chunks_exact(call.shape.group() * lines).enumerate() {
        let to = out.row(query, 0..out.width());
        for (to, row) in to.chunks_exact_mut(head_dim).zip(rows.chunks_exact(lines)) {
            to.copy_from_slice(&flat(row)[..head_dim]);
        }
    }
}
