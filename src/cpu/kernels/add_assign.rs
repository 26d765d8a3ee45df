//! The residual stream (`Qwen3_5DecoderLayer` in transformers' models/qwen3_5).
//!
//! 1. `residual = residual + x`, element by element.

use super::isa::Isa;
use super::simd::per_isa;
use super::split;
use crate::tally;

/// Adds `x` to `residual`: both `[rows, hidden]`.
///
/// # Panics
///
/// Where the lengths differ.
pub fn add_assign(isa: Isa, residual: &mut [f32], x: &[f32]) {
    assert_eq!(residual.len(), x.len(), "one addend for each element");
    tally::add(3 * size_of_val(x), x.len());
    split::rows(residual, 1, |first, residual| {
        let x = &x[first..][..residual.len()];
        add_elements(isa, residual, x);
    });
}

per_isa! {
    fn add_elements(_simd, residual: &mut [f32], x: &[f32]) {
        for (residual, x) in residual.iter_mut().zip(x) {
            *residual += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::testing::{assert_same_bits, noise, on_threads};

    #[test]
    fn adds_on_every_isa_and_thread_count() {
        for len in [0, 1, 15, 100, 70_001] {
            let (a, b) = (noise(1, len), noise(2, len));
            let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            for (isa, threads) in Isa::available().into_iter().zip([1, 2, 3].into_iter().cycle()) {
                let mut out = a.clone();
                on_threads(threads, || add_assign(isa, &mut out, &b));
                assert_same_bits(&out, &sum);
            }
        }
    }
}
