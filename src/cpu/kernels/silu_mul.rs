//! The gate of the feed-forward block (`Qwen3_5MLP` in transformers' models/qwen3_5).
//!
//! 1. `out = silu(gate) * up`, element by element.

use super::exp::{SILU_COST, silu};
use super::isa::Isa;
use super::simd::per_isa;
use super::split;
use crate::tally;

/// Gates `up` by `gate`: all `[rows, intermediate]`.
///
/// # Panics
///
/// Where the lengths differ.
pub fn silu_mul(isa: Isa, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == out.len() && up.len() == out.len(), "one gate for each element");
    tally::add(3 * size_of_val(out), 20 * out.len());
    split::costly_rows(out, 1, SILU_COST, |first, out| {
        let (gate, up) = (&gate[first..][..out.len()], &up[first..][..out.len()]);
        gate_elements(isa, gate, up, out);
    });
}

per_isa! {
    fn gate_elements(_simd, gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            *out = silu(gate) * up;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    proptest! {
        #[test]
        fn agrees_with_f64_on_every_isa(len in 0..500_usize, seed: u64) {
            let gate: Vec<f32> = noise(seed, len).iter().map(|x| 20.0 * x).collect();
            let up = noise(seed ^ 1, len);
            let exact: Vec<f64> = gate.iter().zip(&up)
                .map(|(&g, &u)| f64::from(g) / (1.0 + (-f64::from(g)).exp()) * f64::from(u))
                .collect();
            let mut scalar = vec![0.0; len];
            silu_mul(Isa::SCALAR, &gate, &up, &mut scalar);
            assert_close(&scalar, &exact, 1e-6);
            for isa in Isa::available() {
                let mut out = vec![0.0; len];
                silu_mul(isa, &gate, &up, &mut out);
                assert_same_bits(&out, &scalar);
            }
        }
    }

    #[test]
    fn threads_and_splits_change_nothing() {
        let (rows, width) = (30, 3584);
        let (gate, up) = (noise(1, rows * width), noise(2, rows * width));
        let whole = |threads| {
            let mut out = vec![0.0; rows * width];
            on_threads(threads, || silu_mul(Isa::widest(), &gate, &up, &mut out));
            out
        };
        let one = whole(1);
        assert_same_bits(&whole(3), &one);
        let mut row = vec![0.0; width];
        for (i, one) in one.chunks(width).enumerate() {
            let part = i * width..(i + 1) * width;
            silu_mul(Isa::widest(), &gate[part.clone()], &up[part], &mut row);
            assert_same_bits(&row, one);
        }
    }
}
