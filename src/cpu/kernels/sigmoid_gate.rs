//! The output gate of attention (`Qwen3_5Attention` in transformers' models/qwen3_5).
//!
//! 1. `x = x * sigmoid(gate)`, element by element. The query projection yields query and gate of a head next to each
//!    other, so the gate is read in place, with a stride.

use super::exp::sigmoid;
use super::isa::Isa;
use super::simd::per_isa;
use super::split;
use crate::tally;

/// Gates `x` `[rows, heads, head_dim]` in place. The gate of head `i` of all rows starts at `gates[i * stride]`: pass
/// `stride = head_dim` for gates of their own, or `&projection[head_dim..]` with `stride = 2 * head_dim` for a
/// projection `[rows, heads, 2, head_dim]` of queries and gates.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn sigmoid_gate(isa: Isa, x: &mut [f32], head_dim: usize, gates: &[f32], stride: usize) {
    assert!(head_dim > 0 && stride >= head_dim && x.len().is_multiple_of(head_dim));
    let heads = x.len() / head_dim;
    assert!(heads == 0 || gates.len() >= (heads - 1) * stride + head_dim, "a gate for each head");
    tally::add(3 * size_of_val(x), 20 * x.len());
    split::rows(x, head_dim, |first, x| {
        gate_heads(isa, x, head_dim, &gates[first * stride..], stride);
    });
}

per_isa! {
    fn gate_heads(_simd, x: &mut [f32], head_dim: usize, gates: &[f32], stride: usize) {
        for (head, x) in x.chunks_exact_mut(head_dim).enumerate() {
            let gates = &gates[head * stride..][..head_dim];
            for (x, &gate) in x.iter_mut().zip(gates) {
                *x *= sigmoid(gate);
            }
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
        fn agrees_with_f64_on_every_isa(heads in 0..9_usize, n in 1..80_usize, gap in 0..80_usize, seed: u64) {
            let x = noise(seed, heads * n);
            let gates: Vec<f32> = noise(seed ^ 1, heads * (n + gap)).iter().map(|x| 20.0 * x).collect();
            let exact: Vec<f64> = (0..heads * n)
                .map(|i| f64::from(x[i]) / (1.0 + (-f64::from(gates[i / n * (n + gap) + i % n])).exp()))
                .collect();
            let mut scalar = x.clone();
            sigmoid_gate(Isa::SCALAR, &mut scalar, n, &gates, n + gap);
            assert_close(&scalar, &exact, 1e-6);
            for isa in Isa::available() {
                let mut out = x.clone();
                sigmoid_gate(isa, &mut out, n, &gates, n + gap);
                assert_same_bits(&out, &scalar);
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, width) = (60, 2048);
        let (x, gates) = (noise(1, rows * width), noise(2, 2 * rows * width));
        let whole = |threads| {
            let mut out = x.clone();
            on_threads(threads, || sigmoid_gate(Isa::widest(), &mut out, 256, &gates[256..], 512));
            out
        };
        assert_same_bits(&whole(3), &whole(1));
    }
}
