//! The inner loop: a tile of rows of `x` meets sixteen rows of weights, one sum in each lane.
//!
//! What limits few rows of `x`, as in decoding, is memory: 320 bytes of weights for eight integer products. They are
//! asked for well ahead, since the hardware stops at the end of each page. What limits many rows is the two ports for
//! vector arithmetic: for each row of `x` and panel, eight integer products and four instructions in single precision.
//! Codes are unpacked once for a tile.

use std::ops::Range;

use super::super::columns::Columns;
use super::super::simd::{LANES, Simd};
use super::activations::{Activations, Codes, tiles};
use super::dot::{Dot, per_dot_isa};
use super::panel::{PANEL_ROWS, Panel, Panels};

/// Weights that stay in the second-level cache while all rows of `x` pass by.
const CACHED_BYTES: usize = 256 * 1024;

/// Codes of a tile that stay in the first-level cache, a third of it, while the weights of a task pass by. Where rows are
/// longer, they are taken in chunks, and unfinished sums wait in the result.
const CHUNK_BYTES: usize = 16 * 1024;

/// How far ahead weights are asked for, in panels.
const AHEAD: usize = 64;

per_dot_isa! {
    /// Fills a product of all rows of `x` and all weights.
    pub(in super::super) fn rows(dot, x: &Activations, weights: Panels<'_>, out: &mut Columns<'_>) {
        let groups = (CACHED_BYTES / (x.blocks * size_of::<Panel>())).max(1);
        for first in (0..out.width()).step_by(groups * PANEL_ROWS) {
            let rows = first..out.width().min(first + groups * PANEL_ROWS);
            for (start, count) in tiles(x.rows, D::LARGEST_TILE) {
                match count {
                    1 => tile::<D, 1>(dot, x, start, weights, out, rows.clone()),
                    2 => tile::<D, 2>(dot, x, start, weights, out, rows.clone()),
                    4 => tile::<D, 4>(dot, x, start, weights, out, rows.clone()),
                    8 => tile::<D, 8>(dot, x, start, weights, out, rows.clone()),
                    _ => tile::<D, 16>(dot, x, start, weights, out, rows.clone()),
                }
            }
        }
    }
}

#[inline(always)]
fn tile<D: Dot, const M: usize>(
    dot: D,
    x: &Activations,
    start: usize,
    weights: Panels<'_>,
    out: &mut Columns<'_>,
    rows: Range<usize>,
) {
    let of_tile = start * x.blocks..(start + M) * x.blocks;
    let codes = x.codes[of_tile.clone()].as_chunks::<M>().0;
    let steps = x.steps[of_tile.clone()].as_chunks::<M>().0;
    let sums = x.sums[of_tile].as_chunks::<M>().0;
    let most = CHUNK_BYTES / size_of::<[Codes; M]>();
    for chunk in (0..x.blocks).step_by(most) {
        let blocks = chunk..x.blocks.min(chunk + most);
        let (codes, steps, sums) = (&codes[blocks.clone()], &steps[blocks.clone()], &sums[blocks.clone()]);
        for (first, panels) in rows.clone().step_by(PANEL_ROWS).zip(weights.groups(rows.start)) {
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
            multiply::<D, M>(dot, &panels[blocks.clone()], codes, steps, sums, &mut totals);
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

/// Adds to `totals` what a run of blocks gives.
#[inline(always)]
fn multiply<D: Dot, const M: usize>(
    dot: D,
    panels: &[Panel],
    codes: &[[Codes; M]],
    steps: &[[f32; M]],
    sums: &[[f32; M]],
    totals: &mut [<D::Simd as Simd>::V; M],
) {
    let simd = dot.simd();
    for (((panel, x), steps), sums) in panels.iter().zip(codes).zip(steps).zip(sums) {
        let ahead = std::ptr::from_ref(panel).wrapping_add(AHEAD).cast::<[u8; 64]>();
        for line in 0..size_of::<Panel>() / 64 {
            simd.prefetch(ahead.wrapping_add(line));
        }
        let mut products = [dot.no_sum(); M];
        for (line, codes) in panel.codes.iter().enumerate() {
            let [low, high] = dot.unpack(codes);
            for m in 0..M {
                products[m] = dot.add_products(products[m], low, x[m][2 * line]);
            }
            for m in 0..M {
                products[m] = dot.add_products(products[m], high, x[m][2 * line + 1]);
            }
        }
        let (scales, biases) = (simd.load_f16(&panel.scales), simd.load_f16(&panel.biases));
        for m in 0..M {
            let scale = simd.mul(scales, simd.splat(steps[m]));
            totals[m] = simd.fma(dot.to_f32(products[m]), scale, totals[m]);
            totals[m] = simd.fma(biases, simd.splat(sums[m]), totals[m]);
        }
    }
}
