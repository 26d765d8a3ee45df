//! Root-mean-square normalisation of rows (`Qwen3_5RMSNorm` in transformers' models/qwen3_5, `Qwen3RMSNorm`,
//! `LlamaRMSNorm`).
//!
//! 1. `r = 1 / sqrt(mean(x^2) + eps)`, the squares summed in 16 lanes and then pairwise.
//! 2. `out = (x * r) * scale`, in this order.
//!
//! Some models store `w` and multiply by `1 + w`. `scale` is that sum, formed once when the weights are loaded: the source
//! rounds it to `f32` as well.

use super::isa::Isa;
use super::simd::{Simd, per_isa};
use super::split;
use crate::tally;

/// Normalises rows of `scale.len()` elements: `x` `[rows, stride]`, of which the first elements of each row are read,
/// into `out` `[rows, scale.len()]`. The last row of `x` may end after its first elements.
///
/// # Panics
///
/// Where `x` has fewer rows than `out`, or `stride` is less than a row.
pub fn rms_norm(isa: Isa, x: &[f32], stride: usize, scale: &[f32], eps: f32, out: &mut [f32]) {
    let n = scale.len();
    assert!(n > 0 && stride >= n && out.len().is_multiple_of(n), "rows of {n}, {stride} apart");
    let rows = out.len() / n;
    assert!(rows == 0 || x.len() >= (rows - 1) * stride + n, "{rows} rows of {n}, {stride} apart");
    tally::add((2 * out.len() + n) * size_of::<f32>(), 4 * out.len());
    split::rows(out, n, |first, out| {
        norm_rows(isa, &x[first * stride..], stride, scale, eps, out);
    });
}

/// [`rms_norm`] of `x` `[rows, scale.len()]` onto itself.
///
/// # Panics
///
/// Where `x` is not whole rows.
pub fn rms_norm_in_place(isa: Isa, x: &mut [f32], scale: &[f32], eps: f32) {
    let n = scale.len();
    assert!(n > 0 && x.len().is_multiple_of(n), "{} elements in rows of {n}", x.len());
    tally::add((2 * x.len() + n) * size_of::<f32>(), 4 * x.len());
    split::rows(x, n, |_, x| norm_rows_in_place(isa, x, scale, eps));
}

per_isa! {
    fn norm_rows(simd, x: &[f32], stride: usize, scale: &[f32], eps: f32, out: &mut [f32]) {
        let n = scale.len();
        for (row, out) in out.chunks_exact_mut(n).enumerate() {
            let x = &x[row * stride..][..n];
            let r = inverse_rms(simd, x, eps);
            for ((out, x), scale) in out.iter_mut().zip(x).zip(scale) {
                *out = x * r * scale;
            }
        }
    }
}

per_isa! {
    fn norm_rows_in_place(simd, x: &mut [f32], scale: &[f32], eps: f32) {
        for x in x.chunks_exact_mut(scale.len()) {
            let r = inverse_rms(simd, x, eps);
            for (x, scale) in x.iter_mut().zip(scale) {
                *x = *x * r * scale;
            }
        }
    }
}

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub(super) fn inverse_rms<S: Simd>(simd: S, x: &[f32], eps: f32) -> f32 {
    1.0 / (simd.sum_of_squares(x) / x.len() as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    fn naive(x: &[f32], stride: usize, scale: &[f32], eps: f32, rows: usize) -> Vec<f64> {
        let n = scale.len();
        let mut out = Vec::new();
        for row in 0..rows {
            let x: Vec<f64> = x[row * stride..][..n].iter().map(|&x| x.into()).collect();
            let mean = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
            let r = 1.0 / (mean + f64::from(eps)).sqrt();
            out.extend(x.iter().zip(scale).map(|(x, &w)| x * r * f64::from(w)));
        }
        out
    }

    proptest! {
        #[test]
        fn agrees_with_f64_on_every_isa(rows in 0..6_usize, n in 1..300_usize, gap in 0..9_usize, seed: u64) {
            let (x, scale) = (noise(seed, rows * (n + gap)), noise(seed ^ 1, n));
            let exact = naive(&x, n + gap, &scale, 1e-6, rows);
            let mut scalar = vec![0.0; rows * n];
            rms_norm(Isa::SCALAR, &x, n + gap, &scale, 1e-6, &mut scalar);
            assert_close(&scalar, &exact, 1e-6);
            for isa in Isa::available() {
                let mut out = vec![0.0; rows * n];
                rms_norm(isa, &x, n + gap, &scale, 1e-6, &mut out);
                assert_same_bits(&out, &scalar);
                let mut rows = x.clone();
                rows.truncate(rows.len() / (n + gap) * n);
                let mut out = rows.clone();
                rms_norm_in_place(isa, &mut out, &scale, 1e-6);
                let mut apart = vec![0.0; rows.len()];
                rms_norm(isa, &rows, n, &scale, 1e-6, &mut apart);
                assert_same_bits(&out, &apart);
            }
        }
    }

    #[test]
    fn threads_and_splits_change_nothing() {
        let (rows, n) = (90, 1024);
        let (x, scale) = (noise(7, rows * n), noise(8, n));
        let whole = |threads| {
            let mut out = vec![0.0; rows * n];
            on_threads(threads, || rms_norm(Isa::widest(), &x, n, &scale, 1e-6, &mut out));
            out
        };
        let one = whole(1);
        assert_same_bits(&whole(3), &one);
        let mut parts = vec![0.0; rows * n];
        for (x, out) in x.chunks(7 * n).zip(parts.chunks_mut(7 * n)) {
            rms_norm(Isa::widest(), x, n, &scale, 1e-6, out);
        }
        assert_same_bits(&parts, &one);
    }
}
