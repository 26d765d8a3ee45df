//! Adding the values of a block to the outputs of its rows.

use super::call::Scores;
use crate::cpu::kernels::simd::{LANES, Line, Simd};

/// What is added to the outputs of some rows.
pub(super) struct Panel<'a> {
    /// `[positions, head_dim]`
    pub values: &'a [f32],
    pub head_dim: usize,
    pub scores: &'a [Scores],
    pub factors: &'a [f32],
}

impl Panel<'_> {
    /// Adds to `N` vectors from `line` of each of `R` rows: as many as stay in registers.
    #[inline(always)]
    pub(super) fn add<S: Simd, const R: usize, const N: usize>(&self, simd: S, out: &mut [Line], line: usize) {
        let lines = out.len() / R;
        let mut sums = [[simd.splat(0.0); N]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let factor = simd.splat(self.factors[r]);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul(simd.load(&out[r * lines + line + i].0), factor);
            }
        }
        let columns = line * LANES..self.head_dim.min((line + N) * LANES);
        for (position, value) in self.values.chunks_exact(self.head_dim).enumerate() {
            let value = &value[columns.clone()];
            let mut vectors = [simd.splat(0.0); N];
            if let Some(full) = value.as_chunks().0.first_chunk::<N>() {
                for (vector, full) in vectors.iter_mut().zip(full) {
                    *vector = simd.load(full);
                }
            } else {
                vectors[0] = simd.load_part(value);
            }
            for (sums, scores) in sums.iter_mut().zip(self.scores) {
                let score = simd.splat(scores[position]);
                for (sum, value) in sums.iter_mut().zip(vectors) {
                    *sum = simd.fma(score, value, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (i, sum) in sums.into_iter().enumerate() {
                simd.store(sum, &mut out[r * lines + line + i].0);
            }
        }
    }
}
