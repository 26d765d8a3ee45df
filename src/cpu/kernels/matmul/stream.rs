//! Few rows of `x`: weights are widened in registers as they stream by, several rows of them at once.

use std::ops::Range;

use super::super::simd::{Simd, per_isa};
use super::tile::{Element, multiply, rows_from, write};
use super::{Shared, WeightSlice};

per_isa! {
    /// Fills the columns `rows` of the product for all rows of `x`.
    pub(super) fn rows(
        simd,
        x: &[f32],
        cols: usize,
        weights: WeightSlice<'_>,
        product: &Shared<'_>,
        rows: Range<usize>,
    ) {
        match weights {
            WeightSlice::F32(weights) => few(simd, x, cols, weights, product, rows),
            WeightSlice::F16(weights) => few(simd, x, cols, weights, product, rows),
            WeightSlice::Bf16(weights) => few(simd, x, cols, weights, product, rows),
            WeightSlice::Q4 { .. } => unreachable!("four bits are widened in blocks"),
        }
    }
}

/// Tiles as large as the registers hold, with as many sums as keep the adders busy: two a cycle that take four each.
#[inline(always)]
fn few<S: Simd, W: Element>(simd: S, x: &[f32], cols: usize, weights: &[W], product: &Shared<'_>, rows: Range<usize>) {
    match (x.len() / cols, S::WIDE) {
        (1, true) => tiles::<S, W, 1, 8>(simd, x, cols, weights, product, rows),
        (1, false) => tiles::<S, W, 1, 4>(simd, x, cols, weights, product, rows),
        (2, true) => tiles::<S, W, 2, 6>(simd, x, cols, weights, product, rows),
        (2, false) => tiles::<S, W, 2, 2>(simd, x, cols, weights, product, rows),
        (3 | 4, true) => tiles::<S, W, 4, 4>(simd, x, cols, weights, product, rows),
        (_, true) => tiles::<S, W, 8, 3>(simd, x, cols, weights, product, rows),
        (_, false) => tiles::<S, W, 4, 1>(simd, x, cols, weights, product, rows),
    }
}

#[inline(always)]
fn tiles<S: Simd, W: Element, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    cols: usize,
    weights: &[W],
    product: &Shared<'_>,
    rows: Range<usize>,
) {
    let m = x.len() / cols;
    for first in rows.clone().step_by(N) {
        let w = rows_from::<W, N>(weights, cols, first, rows.end, 0..cols);
        let columns = first..rows.end.min(first + N);
        for start in (0..m).step_by(M) {
            let mut tile = [[simd.splat(0.0); N]; M];
            // The rows of the next tile lie right behind these. Asked for early, weights stream at 28 GB/s here where
            // they otherwise do at 21.
            let ahead = (start == 0).then_some(N * cols);
            multiply(simd, rows_from::<f32, M>(x, cols, start, m, 0..cols), w, &mut tile, ahead);
            // SAFETY: each task has columns of its own.
            unsafe { write(simd, &tile, product, start, m, columns.clone()) };
        }
    }
}
