//! The inner loop: a tile of rows of `x` meets sixteen rows of weights, one sum in each lane.
//!
//! What limits few rows of `x`, as in decoding, is memory: of weights of four bits, 320 bytes for eight integer products.
//! They are asked for well ahead, since the hardware stops at the end of each page. What limits many rows is the two ports
//! for vector arithmetic: for each row of `x` and 32 columns, eight integer products and four instructions in single
//! precision, some more with more scales. Codes are unpacked once for a tile.

use std::ops::Range;

use super::super::columns::Columns;
use super::super::simd::{LANES, Simd};
use super::activations::{Activations, Rounded, tiles};
use super::dot::{Dot, per_dot_isa};
use super::panel::{PANEL_ROWS, Panel};

/// Weights that stay in the second-level cache while all rows of `x` pass by.
const CACHED_BYTES: usize = 256 * 1024;

/// What of a tile stays in the first-level cache, half of it, while the weights of a task pass by. Where rows are longer,
/// they are taken in chunks, and unfinished sums wait in the result: but for a single tile, for which weights come from memory,
/// in their order. Out of order, 8 rows of 3584 columns took a sixth longer.
const CHUNK_BYTES: usize = 24 * 1024;

/// How far ahead weights are asked for, in bytes.
const AHEAD: usize = 20 * 1024;

per_dot_isa! {
    /// Fills a product of all rows of `x` and all weights.
    pub(super) fn rows<P: Panel>(dot, x: &Activations, weights: &[P], out: &mut Columns<'_>) {
        let in_row = x.blocks / P::BLOCKS;
        let groups = (CACHED_BYTES / (in_row * size_of::<P>())).max(1);
        for first in (0..out.width()).step_by(groups * PANEL_ROWS) {
            let rows = first..out.width().min(first + groups * PANEL_ROWS);
            for (start, count) in tiles(x.rows, D::LARGEST_TILE) {
                match count {
                    1 => tile::<D, P, 1>(dot, x, start, weights, out, rows.clone()),
                    2 => tile::<D, P, 2>(dot, x, start, weights, out, rows.clone()),
                    4 => tile::<D, P, 4>(dot, x, start, weights, out, rows.clone()),
                    _ => large_tile::<D, P>(dot, x, start, count, weights, out, rows.clone()),
                }
            }
        }
    }
}

/// A tile of more than four rows, which is only compiled where it is worth it.
#[inline(always)]
fn large_tile<D: Dot, P: Panel>(
    dot: D,
    x: &Activations,
    start: usize,
    count: usize,
    weights: &[P],
    out: &mut Columns<'_>,
    rows: Range<usize>,
) {
    if const { D::LARGEST_TILE > 4 } {
        match count {
            8 => tile::<D, P, 8>(dot, x, start, weights, out, rows),
            _ => tile::<D, P, 16>(dot, x, start, weights, out, rows),
        }
    }
}

#[inline(always)]
fn tile<D: Dot, P: Panel, const M: usize>(
    dot: D,
    x: &Activations,
    start: usize,
    weights: &[P],
    out: &mut Columns<'_>,
    rows: Range<usize>,
) {
    let x_of_tile = x.rounded[start * x.blocks..(start + M) * x.blocks].as_chunks::<M>().0;
    let in_row = x.blocks / P::BLOCKS;
    let most = if x.rows > M { (CHUNK_BYTES / size_of::<[Rounded; M]>() / P::BLOCKS).max(1) } else { in_row };
    for chunk in (0..in_row).step_by(most) {
        let panels = chunk..in_row.min(chunk + most);
        let x = &x_of_tile[panels.start * P::BLOCKS..panels.end * P::BLOCKS];
        let groups = weights[rows.start / PANEL_ROWS * in_row..].chunks_exact(in_row);
        for (first, group) in rows.clone().step_by(PANEL_ROWS).zip(groups) {
            let columns = first..rows.end.min(first + PANEL_ROWS);
            let mut totals = [dot.simd().splat(0.0); M];
            if chunk > 0 {
                for (m, total) in totals.iter_mut().enumerate() {
                    let out = out.row(start + m, columns.clone());
                    *total = match out.as_array() {
                        Some(out) => dot.simd().load(out),
                        None => dot.simd().load_part(out),
                    };
                }
            }
            multiply::<D, P, M>(dot, &group[panels.clone()], x, &mut totals);
            for (m, total) in totals.into_iter().enumerate() {
                let out = out.row(start + m, columns.clone());
                if let Some(out) = out.as_mut_array() {
                    dot.simd().store(total, out);
                } else {
                    let mut lanes = [0.0; LANES];
                    dot.simd().store(total, &mut lanes);
                    out.copy_from_slice(&lanes[..out.len()]);
                }
            }
        }
    }
}

/// Adds to `totals` what a run of panels gives.
#[inline(always)]
fn multiply<D: Dot, P: Panel, const M: usize>(
    dot: D,
    panels: &[P],
    x: &[[Rounded; M]],
    totals: &mut [<D::Simd as Simd>::V; M],
) {
    let block_bytes = size_of::<P>() / P::BLOCKS;
    for (panel, x) in panels.iter().zip(x.chunks_exact(P::BLOCKS)) {
        let ahead = std::ptr::from_ref(panel).cast::<u8>().wrapping_add(AHEAD);
        for (block, x) in x.iter().enumerate() {
            for line in 0..block_bytes.div_ceil(64) {
                dot.simd().prefetch(ahead.wrapping_add(block * block_bytes + line * 64));
            }
            panel.add_block::<D, M>(block, dot, x, totals);
        }
    }
}
