use proptest::prelude::*;

use super::super::isa::Isa;
use super::super::matmul::{Product, Weights, matmul};
use super::super::testing::{assert_same_bits, noise, on_threads};
use super::*;
use crate::quant::ggml::BlockQ8_0;
use crate::quant::ggml::testing::AnyBlocks;
use crate::quant::{BLOCK_LEN, Blocks, Encoding, Search, quantize};

/// A matrix in blocks, as a file has it and packed.
struct Matrix {
    weights: Vec<f32>,
    panels: Vec<[u8; 64]>,
    format: PackedFormat,
    rows: usize,
    cols: usize,
}

/// Our own blocks, and each of ggml's.
const KINDS: usize = 1 + AnyBlocks::KINDS;

impl Matrix {
    fn of(blocks: Blocks<'_>, cols: usize) -> Self {
        let mut weights = vec![0.0; blocks.len()];
        blocks.dequantize(0, &mut weights);
        let (rows, format) = (weights.len() / cols, PackedFormat::of(&blocks));
        let bytes = format.bytes(rows, cols).expect("whole blocks");
        // Aligned as they must be, and with room for what makes them so.
        let mut panels = vec![[0xa5; 64]; bytes.div_ceil(64) + 1];
        let start = panels.as_flattened().as_ptr().align_offset(64);
        pack(blocks, cols, &mut panels.as_flattened_mut()[start..start + bytes]);
        Self { weights, panels, format, rows, cols }
    }

    /// Our own blocks of these weights.
    fn new(weights: &[f32], cols: usize) -> Self {
        let blocks = quantize(weights, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
        Self::of(Blocks::Q4(&blocks), cols)
    }

    /// With random weights in blocks of this kind, as many columns as so many blocks of 32 have, or of 256.
    fn random(kind: usize, seed: u64, rows: usize, blocks: usize) -> Self {
        match kind {
            0 => Self::new(&noise(seed, rows * blocks * BLOCK_LEN), blocks * BLOCK_LEN),
            _ => {
                let block = AnyBlocks::random(kind - 1, 0, 1).blocks().block_len();
                let cols = (blocks * BLOCK_LEN).next_multiple_of(block);
                Self::of(AnyBlocks::random(kind - 1, seed, rows * cols).blocks(), cols)
            }
        }
    }

    fn packed(&self) -> Panels<'_> {
        let bytes = self.panels.as_flattened();
        let start = bytes.as_ptr().align_offset(64);
        let size = self.format.bytes(self.rows, self.cols).expect("whole blocks");
        Panels::new(&bytes[start..start + size], self.format, self.rows, self.cols)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.weights[row * self.cols..(row + 1) * self.cols]
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
    for kind in 0..KINDS {
        for (rows, blocks) in [(1, 1), (16, 2), (37, 9)] {
            let matrix = Matrix::random(kind, 1, rows, blocks);
            for row in 0..rows {
                let mut out = vec![0.0; matrix.cols];
                matrix.packed().dequantize_row(row, &mut out);
                assert_same_bits(&out, matrix.row(row));
            }
        }
    }
}

#[test]
fn packed_weights_take_hardly_more_than_in_a_file() {
    let bits = [5.0, 4.5, 5.0, 8.5, 4.625, 5.625, 6.5625];
    for (kind, bits) in bits.into_iter().enumerate() {
        let matrix = Matrix::random(kind, 1, 32, 16);
        let packed = 8.0 * matrix.packed().size() as f64 / matrix.weights.len() as f64;
        assert_eq!(packed, bits, "{:?}", matrix.format);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn sums_are_right_within_the_rounding_of_activations_and_alike_on_every_instruction_set(
        kind in 0..KINDS, m in 1usize..40, rows in 1usize..70, blocks in 1usize..20, seed: u64,
    ) {
        let matrix = Matrix::random(kind, seed ^ 1, rows, blocks);
        let cols = matrix.cols;
        let x = noise(seed, m * cols);
        let found: Vec<Vec<f32>> = Isa::available().iter().map(|&isa| product(isa, &x, matrix.packed())).collect();
        for (index, &value) in found[0].iter().enumerate() {
            let (x, w) = (&x[index / rows * cols..][..cols], matrix.row(index % rows));
            let (mut sum, mut bound) = (0.0f64, 0.0f64);
            for (x, w) in x.chunks_exact(BLOCK_LEN).zip(w.chunks_exact(BLOCK_LEN)) {
                let largest = f64::from(x.iter().fold(0.0f32, |largest, x| largest.max(x.abs())));
                for (x, w) in x.iter().zip(w) {
                    sum += f64::from(*x) * f64::from(*w);
                    // Half a step of the activation, and some units in the last place of single precision for sums
                    // whose terms are as large as the largest code without its bias.
                    bound += f64::from(w.abs()) * largest / 254.0 + 1e-6 * largest * (cols / BLOCK_LEN) as f64;
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
        kind in 0..KINDS, m in 1usize..70, rows in 1usize..90, blocks in 1usize..40, seed: u64,
    ) {
        let matrix = Matrix::random(kind, seed ^ 1, rows, blocks);
        let cols = matrix.cols;
        let x = noise(seed, m * cols);
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
    for kind in 0..KINDS {
        let matrix = Matrix::random(kind, 3, 700, 32);
        for m in [1, 5, 100] {
            let x = noise(4, m * matrix.cols);
            let one = on_threads(1, || product(Isa::widest(), &x, matrix.packed()));
            let three = on_threads(3, || product(Isa::widest(), &x, matrix.packed()));
            assert_same_bits(&one, &three);
        }
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
fn the_largest_codes_of_every_type_do_not_overflow() {
    use bytemuck::Zeroable;
    use half::f16;

    use crate::quant::ggml::{BlockQ4_0, BlockQ4K, BlockQ5K, BlockQ6K};

    // Sixteen rows of the same block.
    let q8 = |q| [BlockQ8_0 { d: f16::ONE, qs: [q; 32] }; 16 * 8];
    let (lowest, largest) = (q8(-128), q8(127));
    let q4 = [BlockQ4_0 { d: f16::NEG_ONE, qs: [0xff; 16] }; 16 * 8];
    let scales = [0xff; 12];
    let q4k = [BlockQ4K { d: f16::ONE, scales, qs: [0xff; 128], ..BlockQ4K::zeroed() }; 16];
    let q5k = [BlockQ5K { d: f16::ONE, scales, qh: [0xff; 32], qs: [0xff; 128], ..BlockQ5K::zeroed() }; 16];
    let q6k = |ql, qh| [BlockQ6K { ql: [ql; 128], qh: [qh; 64], scales: [-128; 16], d: f16::ONE }; 16];
    let (q6k_lowest, q6k_largest) = (q6k(0, 0), q6k(0xff, 0xff));
    for (blocks, weight) in [
        (Blocks::Q8_0(&lowest), -128.0),
        (Blocks::Q8_0(&largest), 127.0),
        (Blocks::Q4_0(&q4), -7.0),
        (Blocks::Q4K(&q4k), 63.0 * 15.0),
        (Blocks::Q5K(&q5k), 63.0 * 31.0),
        (Blocks::Q6K(&q6k_lowest), -128.0 * -32.0),
        (Blocks::Q6K(&q6k_largest), -128.0 * 31.0),
    ] {
        let matrix = Matrix::of(blocks, 256);
        assert_eq!(matrix.weights[0], weight);
        for x in [127.0, -127.0] {
            for isa in Isa::available() {
                let found = product(isa, &[x; 256], matrix.packed());
                assert_eq!(found, [256.0 * x * weight; 16], "{isa}: {:?}", matrix.format);
            }
        }
    }
}

#[test]
fn zero_tiny_and_broken_activations_are_what_they_are() {
    for kind in 0..KINDS {
        let matrix = Matrix::random(kind, 5, 16, 1);
        let cols = matrix.cols;
        for isa in Isa::available() {
            assert_eq!(product(isa, &vec![0.0; cols], matrix.packed()), [0.0; 16], "{isa}");
            let tiny = product(isa, &vec![1e-42; cols], matrix.packed());
            assert!(tiny.iter().all(|sum| sum.abs() < 1e-37), "{isa}");
            for (at, broken) in [(17, f32::NAN), (3, f32::INFINITY), (cols - 1, f32::NEG_INFINITY)] {
                let mut x = noise(6, cols);
                x[at] = broken;
                let found = product(isa, &x, matrix.packed());
                assert!(found.iter().all(|sum| !sum.is_finite()), "{isa}, {:?}: {broken}", matrix.format);
            }
        }
    }
}
