//! Putting the segments of rows together.

use super::call::{Call, Running, SEGMENT, Tile};
use crate::cpu::kernels::exp::exp;
use crate::cpu::kernels::simd::per_isa;

per_isa! {
    /// Adds the sums and outputs of segment `segment` to those of the segments before it.
    pub(super) fn fold(
        simd, call: &Call<'_>, tile: &Tile, segment: usize, total: &mut Running<'_>, next: &Running<'_>,
    ) {
        let lines = call.shape.lines();
        for row in 0..total.max.len() {
            let query = tile.queries.start + row / call.shape.group();
            if call.position(query) < segment * SEGMENT {
                // The row ends before this segment, so that other rows of its tile must not show in it.
                continue;
            }
            let max = total.max[row].max(next.max[row]);
            let (a, b) = (exp(total.max[row] - max), exp(next.max[row] - max));
            total.max[row] = max;
            total.sum[row] = total.sum[row] * a + next.sum[row] * b;
            let (a, b) = (simd.splat(a), simd.splat(b));
            let range = row * lines..(row + 1) * lines;
            for (total, next) in total.out[range.clone()].iter_mut().zip(&next.out[range]) {
                let scaled = simd.mul(simd.load(&total.0), a);
                simd.store(simd.fma(simd.load(&next.0), b, scaled), &mut total.0);
            }
        }
    }
}

per_isa! {
    /// Divides every row by its sum.
    pub(super) fn divide_by_sums(_simd, call: &Call<'_>, total: &mut Running<'_>) {
        for (row, sum) in total.out.chunks_exact_mut(call.shape.lines()).zip(&*total.sum) {
            for line in row {
                for x in &mut line.0 {
                    *x /= sum;
                }
            }
        }
    }
}
