//! Few rows of `x`: weights are widened in registers as they stream by, several rows of them at once.

use super::super::columns::Columns;
use super::super::simd::{Simd, per_isa};
use super::tile::{Element, multiply, rows_from, write};
use super::weights::WeightSlice;

per_isa! {
    /// Fills a product of all rows of `x` and all weights.
    pub(super) fn rows(simd, x: &[f32], cols: usize, weights: WeightSlice<'_>, out: &mut Columns<'_>) {
        match weights {
            WeightSlice::F32(weights) => few(simd, x, cols, weights, out),
            WeightSlice::F16(weights) => few(simd, x, cols, weights, out),
            WeightSlice::Bf16(weights) => few(simd, x, cols, weights, out),
            WeightSlice::Blocks { .. } => unreachable!("blocks are widened as wholes"),
        }
    }
}

/// Tiles as large as the registers hold, with as many sums as keep the adders busy: two a cycle that take four each.
#[inline(always)]
fn few<S: Simd, W: Element>(simd: S, x: &[f32], cols: usize, weights: &[W], out: &mut Columns<'_>) {
    match (x.len() / cols, S::WIDE) {
        (1, true) => tiles::<S, W, 1, 8>(simd, x, cols, weights, out),
        (1, false) => tiles::<S, W, 1, 4>(simd, x, cols, weights, out),
        (2, true) => tiles::<S, W, 2, 6>(simd, x, cols, weights, out),
        (2, false) => tiles::<S, W, 2, 2>(simd, x, cols, weights, out),
        (3 | 4, true) => tiles::<S, W, 4, 4>(simd, x, cols, weights, out),
        (_, true) => tiles::<S, W, 8, 3>(simd, x, cols, weights, out),
        (_, false) => tiles::<S, W, 4, 1>(simd, x, cols, weights, out),
    }
}

#[inline(always)]
fn tiles<S: Simd, W: Element, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    cols: usize,
    weights: &[W],
    out: &mut Columns<'_>,
) {
    let (m, rows) = (x.len() / cols, out.width());
    for first in (0..rows).step_by(N) {
        let w = rows_from::<W, N>(weights, cols, first, rows, 0..cols);
        let columns = first..rows.min(first + N);
        for start in (0..m).step_by(M) {
            let mut tile = [[simd.splat(0.0); N]; M];
            // The rows of the next tile lie right behind these. Asked for early, weights stream at 28 GB/s here where
            // they otherwise do at 21.
            let ahead = (start == 0).then_some(N * cols);
            multiply(simd, rows_from::<f32, M>(x, cols, start, m, 0..cols), w, &mut tile, ahead);
            write(simd, &tile, out, start, columns.clone());
        }
    }
}
