use proptest::prelude::*;

use super::super::isa::Isa;
use super::super::matmul::{Product, Weights, matmul};
use super::super::testing::{assert_same_bits, noise, on_threads};
use super::*;
use crate::quant::{BLOCK_LEN, Block, Encoding, Search, dequantize, quantize};

/// A matrix of four-bit weights, as a file has it and packed.
struct Matrix {
    blocks: Vec<Block>,
    panels: Vec<Panel>,
    rows: usize,
    cols: usize,
}

impl Matrix {
    fn new(weights: &[f32], cols: usize) -> Self {
        let rows = weights.len() / cols;
        let blocks = quantize(weights, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
        let in_row = cols / BLOCK_LEN;
        let mut panels = vec![bytemuck::Zeroable::zeroed(); Panels::count(rows, cols)];
        pack(&blocks, in_row, &mut panels);
        Self { blocks, panels, rows, cols }
    }

    fn packed(&self) -> Panels<'_> {
        Panels::new(&self.panels, self.rows, self.cols)
    }

    fn row(&self, row: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.cols];
        dequantize(&self.blocks, row * self.cols, &mut out);
        out
    }
}

fn product(isa: Isa, x: &[f32], weights: Panels<'_>) -> Vec<f32> {
    let rows = weights.rows();
    let mut out = vec![f32::NAN; x.len() / weights.cols() * rows];
    matmul(isa, x, weights.cols(), [Product { weights: Weights::Packed(weights), out: &mut out, stride: rows }]);
    out
}

#[test]
fn packed_rows_are_those_of_the_file() {
    for (rows, cols) in [(1, 32), (16, 64), (37, 96)] {
        let matrix = Matrix::new(&noise(1, rows * cols), cols);
        for row in 0..rows {
            let mut out = vec![0.0; cols];
            matrix.packed().dequantize_row(row, &mut out);
            assert_same_bits(&out, &matrix.row(row));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn sums_are_right_within_the_rounding_of_activations_and_alike_on_every_instruction_set(
        m in 1usize..40, rows in 1usize..70, blocks in 1usize..20, seed: u64,
    ) {
        let cols = blocks * BLOCK_LEN;
        let x = noise(seed, m * cols);
        let matrix = Matrix::new(&noise(seed ^ 1, rows * cols), cols);
        let found: Vec<Vec<f32>> = Isa::available().iter().map(|&isa| product(isa, &x, matrix.packed())).collect();
        for (index, &value) in found[0].iter().enumerate() {
            let (x, w) = (&x[index / rows * cols..][..cols], matrix.row(index % rows));
            let (mut sum, mut bound) = (0.0f64, 0.0f64);
            for (x, w) in x.chunks_exact(BLOCK_LEN).zip(w.chunks_exact(BLOCK_LEN)) {
                let largest = f64::from(x.iter().fold(0.0f32, |largest, x| largest.max(x.abs())));
                for (x, w) in x.iter().zip(w) {
                    sum += f64::from(*x) * f64::from(*w);
                    // Half a step of the activation, and some units in the last place of single precision for sums
                    // whose terms are as large as code 15 without its bias.
                    bound += f64::from(w.abs()) * largest / 254.0 + 1e-6 * largest * blocks as f64;
                }
            }
            prop_assert!((f64::from(value) - sum).abs() <= bound, "{value} is not {sum} within {bound}");
        }
        for other in &found[1..] {
            assert_same_bits(&found[0], other);
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_in_any_company(
        m in 1usize..70, rows in 1usize..90, blocks in 1usize..40, seed: u64,
    ) {
        let cols = blocks * BLOCK_LEN;
        let x = noise(seed, m * cols);
        let matrix = Matrix::new(&noise(seed ^ 1, rows * cols), cols);
        let together = product(Isa::widest(), &x, matrix.packed());
        for (x, together) in x.chunks_exact(cols).zip(together.chunks_exact(rows)) {
            assert_same_bits(&product(Isa::widest(), x, matrix.packed()), together);
        }
        let first = rows / 2 / PANEL_ROWS * PANEL_ROWS;
        let part = product(Isa::widest(), &x, matrix.packed().slice(first..rows));
        for (part, together) in part.chunks_exact(rows - first).zip(together.chunks_exact(rows)) {
            assert_same_bits(part, &together[first..]);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (cols, rows) = (1024, 700);
    let matrix = Matrix::new(&noise(3, rows * cols), cols);
    for m in [1, 5, 100] {
        let x = noise(4, m * cols);
        let one = on_threads(1, || product(Isa::widest(), &x, matrix.packed()));
        let three = on_threads(3, || product(Isa::widest(), &x, matrix.packed()));
        assert_same_bits(&one, &three);
    }
}

#[test]
fn the_largest_codes_do_not_overflow() {
    let cols = 64;
    // Every weight is code 15 or 0, every activation 127 or −127.
    let weights: Vec<f32> = (0..16 * cols).map(|i| if i % 32 == 0 { 0.0 } else { 15.0 }).collect();
    let matrix = Matrix::new(&weights, cols);
    for x in [vec![127.0; cols], vec![-127.0; cols]] {
        for isa in Isa::available() {
            let expected = x[0] * 15.0 * 62.0;
            assert_eq!(product(isa, &x, matrix.packed()), vec![expected; 16], "{isa}");
        }
    }
}

#[test]
fn zero_tiny_and_broken_activations_are_what_they_are() {
    let cols = 32;
    let matrix = Matrix::new(&noise(5, 16 * cols), cols);
    for isa in Isa::available() {
        assert_eq!(product(isa, &[0.0; 32], matrix.packed()), [0.0; 16], "{isa}");
        assert!(product(isa, &[1e-42; 32], matrix.packed()).iter().all(|sum| sum.abs() < 1e-37), "{isa}");
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = noise(6, cols);
            x[17] = broken;
            assert!(product(isa, &x, matrix.packed()).iter().all(|sum| !sum.is_finite()), "{isa}: {broken}");
        }
    }
}
