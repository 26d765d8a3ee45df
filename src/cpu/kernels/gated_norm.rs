//! The gated normalisation after the delta rule (`Qwen3_5RMSNormGated` in transformers' models/qwen3_5).
//!
//! 1. `r = 1 / sqrt(mean(x^2) + eps)`, over one value head.
//! 2. `out = (weight * (x * r)) * silu(z)`, in this order: normalised first, gated last.

use super::exp::{SILU_COST, silu};
use super::isa::Isa;
use super::rms_norm::inverse_rms;
use super::simd::per_isa;
use super::split;
use crate::tally;

/// Normalises and gates `x` `[rows, heads, head_dim]` in place by `z` of the same shape, with one `weight`
/// `[head_dim]` for every head (used as stored, without the `1 +` of the other norms).
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn gated_norm(isa: Isa, x: &mut [f32], z: &[f32], weight: &[f32], eps: f32) {
    let n = weight.len();
    assert!(n > 0 && x.len().is_multiple_of(n), "{} elements in heads of {n}", x.len());
    assert_eq!(x.len(), z.len(), "one gate for each element");
    tally::add((3 * x.len() + n) * size_of::<f32>(), 24 * x.len());
    split::costly_rows(x, n, SILU_COST, |first, x| {
        let z = &z[first * n..][..x.len()];
        norm_heads(isa, x, z, weight, eps);
    });
}

per_isa! {
    fn norm_heads(simd, x: &mut [f32], z: &[f32], weight: &[f32], eps: f32) {
        let n = weight.len();
        for (x, z) in x.chunks_exact_mut(n).zip(z.chunks_exact(n)) {
            let r = inverse_rms(simd, x, eps);
            for ((x, &z), weight) in x.iter_mut().zip(z).zip(weight) {
                *x = weight * (*x * r) * silu(z);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    fn naive(x: &[f32], z: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
        let n = weight.len();
        let mut out = Vec::new();
        for (x, z) in x.chunks(n).zip(z.chunks(n)) {
            let mean = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / n as f64;
            let r = 1.0 / (mean + f64::from(eps)).sqrt();
            for i in 0..n {
                let gate = f64::from(z[i]) / (1.0 + (-f64::from(z[i])).exp());
                out.push(f64::from(weight[i]) * f64::from(x[i]) * r * gate);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn agrees_with_f64_on_every_isa(heads in 0..9_usize, n in 1..150_usize, seed: u64) {
            let (x, weight) = (noise(seed, heads * n), noise(seed ^ 1, n));
            let z: Vec<f32> = noise(seed ^ 2, heads * n).iter().map(|z| 9.0 * z).collect();
            let mut scalar = x.clone();
            gated_norm(Isa::SCALAR, &mut scalar, &z, &weight, 1e-6);
            assert_close(&scalar, &naive(&x, &z, &weight, 1e-6), 2e-6);
            for isa in Isa::available() {
                let mut out = x.clone();
                gated_norm(isa, &mut out, &z, &weight, 1e-6);
                assert_same_bits(&out, &scalar);
            }
        }
    }

    #[test]
    fn threads_and_splits_change_nothing() {
        let (rows, width, n) = (50, 2048, 128);
        let (x, z, weight) = (noise(1, rows * width), noise(2, rows * width), noise(3, n));
        let whole = |threads| {
            let mut out = x.clone();
            on_threads(threads, || gated_norm(Isa::widest(), &mut out, &z, &weight, 1e-6));
            out
        };
        let one = whole(1);
        assert_same_bits(&whole(3), &one);
        let mut parts = x.clone();
        for (x, z) in parts.chunks_mut(7 * width).zip(z.chunks(7 * width)) {
            gated_norm(Isa::widest(), x, z, &weight, 1e-6);
        }
        assert_same_bits(&parts, &one);
    }
}
