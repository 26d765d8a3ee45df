//! What products of BF16 promise, where the machine has them.

use half::bf16;
use proptest::prelude::*;

use crate::cpu::kernels::testing::{assert_same_bits, noise, on_threads};
use crate::cpu::kernels::{Isa, Product, WeightSlice, Weights, matmul};

/// The instruction set; says so where there is none.
fn isa() -> Option<Isa> {
    let isa = Isa::with_bf16();
    if isa.is_none() {
        eprintln!("skipped: this processor has no products of BF16");
    }
    isa
}

fn brains(values: &[f32]) -> Vec<bf16> {
    values.iter().copied().map(bf16::from_f32).collect()
}

fn product(isa: Isa, x: &[f32], cols: usize, weights: &[bf16]) -> Vec<f32> {
    multiply(isa, x, cols, Weights::Brain(weights))
}

fn multiply(isa: Isa, x: &[f32], cols: usize, weights: Weights<'_>) -> Vec<f32> {
    let rows = weights.len() / cols;
    let mut out = vec![f32::NAN; x.len() / cols * rows];
    matmul(isa, x, cols, [Product { weights, out: &mut out, stride: rows }]);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_are_those_of_rounded_activations(m in 0usize..20, rows in 0usize..70, cols in 1usize..150, seed: u64) {
        let Some(isa) = isa() else { return Ok(()) };
        let (x, weights) = (noise(seed, m * cols), brains(&noise(seed ^ 1, rows * cols)));
        let rounded = brains(&x);
        for (index, &value) in product(isa, &x, cols, &weights).iter().enumerate() {
            let (m, n) = (index / rows, index % rows);
            let terms = (0..cols).map(|k| rounded[m * cols + k].to_f64() * weights[n * cols + k].to_f64());
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // Two additions of each product of a lane, and the four of the tree, each round by half a unit in the last
            // place; a product may round before, and what is subnormal is lost.
            let roundings = 2 * cols.div_ceil(32) + 5;
            let bound = f64::from(f32::EPSILON) / 2.0 * roundings as f64 * size + 1e-36;
            prop_assert!((f64::from(value) - sum).abs() <= bound, "{value} is not {sum} within {bound}");
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_in_any_company(
        m in 1usize..20, rows in 1usize..70, cols in 1usize..4200, seed: u64,
    ) {
        let Some(isa) = isa() else { return Ok(()) };
        let (x, weights) = (noise(seed, m * cols), brains(&noise(seed ^ 1, rows * cols)));
        let together = product(isa, &x, cols, &weights);
        for (x, together) in x.chunks_exact(cols).zip(together.chunks_exact(rows)) {
            assert_same_bits(&product(isa, x, cols, &weights), together);
        }
        for first in [0, rows / 2, rows - 1] {
            let part = product(isa, &x, cols, &weights[first * cols..]);
            for (part, together) in part.chunks_exact(rows - first).zip(together.chunks_exact(rows)) {
                assert_same_bits(part, &together[first..]);
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let Some(isa) = isa() else { return };
    let (cols, rows) = (1040, 700);
    let weights = brains(&noise(3, rows * cols));
    for m in [1, 2, 4, 5, 13, 90] {
        let x = noise(4, m * cols);
        let [one, three] = [1, 3].map(|threads| on_threads(threads, || product(isa, &x, cols, &weights)));
        assert_same_bits(&one, &three);
    }
}

#[test]
fn instruction_sets_without_such_products_read_the_weights_as_they_are_stored() {
    let (cols, rows) = (80, 40);
    let (x, weights) = (noise(5, 9 * cols), brains(&noise(6, rows * cols)));
    for isa in Isa::available().into_iter().filter(|isa| !isa.multiplies_bf16()) {
        let stored = multiply(isa, &x, cols, Weights::Stored(WeightSlice::Bf16(&weights)));
        assert_same_bits(&product(isa, &x, cols, &weights), &stored);
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    let Some(isa) = isa() else { return };
    let weights = brains(&[1.0; 40]);
    for (value, expected) in [(f32::INFINITY, f32::INFINITY), (f32::MAX, f32::INFINITY), (f32::NAN, f32::NAN)] {
        for m in [1, 9] {
            let mut x = vec![1.0; m * 40];
            x[39] = value;
            let out = product(isa, &x, 40, &weights);
            assert_eq!(out[0].to_bits() & 0x7fff_ffff, expected.to_bits() & 0x7fff_ffff, "{value}");
            assert!(out[1..].iter().all(|&other| other == 40.0));
        }
    }
}
