//! Few rows of `x`: weights are widened in registers as they stream by, several rows of them at once.

use std::ops::Range;

use super::super::simd::{Simd, per_isa};
use super::tile::{Element, finish, multiply};
use super::{Shared, WeightSlice};

per_isa! {
    /// Fills the columns `rows` of the product for all rows of `x`, at most four.
    pub(super) fn rows(simd, x: &[f32], cols: usize, product: &Shared<'_>, rows: Range<usize>) {
        match product.weights {
            WeightSlice::F32(weights) => few(simd, x, cols, weights, product, rows),
            WeightSlice::F16(weights) => few(simd, x, cols, weights, product, rows),
            WeightSlice::Bf16(weights) => few(simd, x, cols, weights, product, rows),
        }
    }
}

/// Tiles as large as the registers hold, with as many rows of weights as the additions take cycles.
#[inline(always)]
fn few<S: Simd, W: Element>(simd: S, x: &[f32], cols: usize, weights: &[W], product: &Shared<'_>, rows: Range<usize>) {
    match (x.len() / cols, S::WIDE) {
        (1, true) => tiles::<S, W, 1, 8>(simd, x, cols, weights, product, rows),
        (1, false) => tiles::<S, W, 1, 4>(simd, x, cols, weights, product, rows),
        (2, true) => tiles::<S, W, 2, 6>(simd, x, cols, weights, product, rows),
        (2, false) => tiles::<S, W, 2, 2>(simd, x, cols, weights, product, rows),
        (_, true) => tiles::<S, W, 4, 4>(simd, x, cols, weights, product, rows),
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
    // Rows past the end repeat the last one, and their sums are dropped.
    let mut rows_of_x = [x; M];
    for (row, of_x) in rows_of_x.iter_mut().enumerate() {
        *of_x = &x[row.min(m - 1) * cols..][..cols];
    }
    for first in rows.clone().step_by(N) {
        let mut w = [weights; N];
        for (row, w) in w.iter_mut().enumerate() {
            *w = &weights[(first + row).min(rows.end - 1) * cols..][..cols];
        }
        let mut tile = [[simd.splat(0.0); N]; M];
        multiply(simd, rows_of_x, w, &mut tile);
        let columns = first..rows.end.min(first + N);
        for (row, sums) in finish(simd, &tile).iter().enumerate().take(m) {
            let start = row * product.stride;
            // SAFETY: each task has columns of its own, and within it each tile.
            let out = unsafe { product.out.piece(start + columns.start..start + columns.end) };
            out.copy_from_slice(&sums[..columns.len()]);
        }
    }
}
