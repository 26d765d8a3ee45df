//! What [`matmul`] promises, for every instruction set of this machine.

use half::{bf16, f16};
use proptest::prelude::*;

use super::{Product, WeightSlice, Weights, matmul};
use crate::cpu::kernels::Isa;
use crate::cpu::kernels::testing::{assert_same_bits, noise, on_threads};
use crate::quant::ggml::testing::AnyBlocks;
use crate::quant::{Block, Blocks, Encoding, Search, quantize};

/// The same noise in one of the storage types, or blocks of any bytes.
enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    Q4(Vec<Block>, usize),
    Ggml(AnyBlocks, usize),
}

/// How many kinds there are; those of ggml are the last, and have whole blocks only.
const KINDS: usize = 4 + AnyBlocks::KINDS;

impl Stored {
    fn new(kind: usize, weights: &[f32]) -> Self {
        match kind {
            0 => Self::F32(weights.to_vec()),
            1 => Self::F16(weights.iter().map(|&weight| f16::from_f32(weight)).collect()),
            2 => Self::Bf16(weights.iter().map(|&weight| bf16::from_f32(weight)).collect()),
            3 => {
                let blocks = quantize(weights, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
                Self::Q4(blocks, weights.len())
            }
            _ => {
                let seed = weights.first().map_or(0, |weight| u64::from(weight.to_bits()));
                Self::Ggml(AnyBlocks::random(kind - 4, seed, weights.len()), weights.len())
            }
        }
    }

    fn slice(&self) -> WeightSlice<'_> {
        match self {
            Self::F32(weights) => WeightSlice::F32(weights),
            Self::F16(weights) => WeightSlice::F16(weights),
            Self::Bf16(weights) => WeightSlice::Bf16(weights),
            Self::Q4(blocks, len) => WeightSlice::Blocks { blocks: Blocks::Q4(blocks), first: 0, len: *len },
            Self::Ggml(blocks, len) => WeightSlice::Blocks { blocks: blocks.blocks(), first: 0, len: *len },
        }
    }

    fn values(&self) -> Vec<f32> {
        match self {
            Self::F32(weights) => weights.clone(),
            Self::F16(weights) => weights.iter().map(|weight| weight.to_f32()).collect(),
            Self::Bf16(weights) => weights.iter().map(|weight| weight.to_f32()).collect(),
            Self::Q4(blocks, len) => dequantized(Blocks::Q4(blocks), *len),
            Self::Ggml(blocks, len) => dequantized(blocks.blocks(), *len),
        }
    }
}

fn dequantized(blocks: Blocks<'_>, len: usize) -> Vec<f32> {
    let mut weights = vec![0.0; len];
    blocks.dequantize(0, &mut weights);
    weights
}

fn product(isa: Isa, x: &[f32], cols: usize, weights: WeightSlice<'_>) -> Vec<f32> {
    let rows = weights.len() / cols;
    let mut out = vec![f32::NAN; x.len() / cols * rows];
    matmul(isa, x, cols, [Product { weights: Weights::Stored(weights), out: &mut out, stride: rows }]);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_instruction_set_is_near_the_exact_product_and_all_give_the_same_bits(
        m in 0usize..20, rows in 0usize..70, cols in 1usize..70, kind in 0..KINDS, seed: u64,
    ) {
        let x = noise(seed, m * cols);
        let weights = Stored::new(kind, &noise(seed ^ 1, rows * cols));
        let exact = weights.values();
        let found: Vec<Vec<f32>> = Isa::available().iter().map(|&isa| product(isa, &x, cols, weights.slice())).collect();
        for (index, &value) in found[0].iter().enumerate() {
            let (m, n) = (index / rows, index % rows);
            let terms = (0..cols).map(|k| f64::from(x[m * cols + k]) * f64::from(exact[n * cols + k]));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // Each of a lane's additions and the four of the tree may round by half a unit in the last place.
            let bound = f64::from(f32::EPSILON) * (cols.div_ceil(16) + 4) as f64 * size;
            prop_assert!((f64::from(value) - sum).abs() <= bound, "{value} is not {sum} within {bound}");
        }
        for other in &found[1..] {
            assert_same_bits(&found[0], other);
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_in_any_company(
        m in 1usize..20, rows in 1usize..70, cols in 1usize..2100, kind in 0..KINDS, seed: u64,
    ) {
        let x = noise(seed, m * cols);
        let weights = Stored::new(kind, &noise(seed ^ 1, rows * cols));
        for isa in Isa::available().into_iter().skip(1) {
            let together = product(isa, &x, cols, weights.slice());
            for (x, together) in x.chunks_exact(cols).zip(together.chunks_exact(rows)) {
                assert_same_bits(&product(isa, x, cols, weights.slice()), together);
            }
            for first in [0, rows / 2, rows - 1] {
                let part = product(isa, &x, cols, weights.slice().slice(first * cols..rows * cols));
                for (part, together) in part.chunks_exact(rows - first).zip(together.chunks_exact(rows)) {
                    assert_same_bits(part, &together[first..]);
                }
            }
        }
    }
}

#[test]
fn blocks_give_the_bits_of_what_they_stand_for() {
    // Rows that begin anywhere in a block, that lie within one, and that are longer than a chunk of columns.
    let straddling = [(70, 33), (40, 31), (5, 1), (33, 72), (9, 64), (7, 1100), (2, 2080)].map(|shape| (3, shape));
    let whole = (4..KINDS).flat_map(|kind| [(kind, (35, 256)), (kind, (3, 1280))]);
    for (kind, (rows, cols)) in straddling.into_iter().chain(whole) {
        let weights = Stored::new(kind, &noise(10, rows * cols));
        let single = Stored::F32(weights.values());
        for m in [1, 2, 5, 9, 14] {
            let x = noise(11, m * cols);
            for isa in Isa::available() {
                for first in [0, 1, rows / 2] {
                    let part = first * cols..rows * cols;
                    let found = product(isa, &x, cols, weights.slice().slice(part.clone()));
                    assert_same_bits(&found, &product(isa, &x, cols, single.slice().slice(part)));
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (cols, rows) = (1040, 700);
    let weights = Stored::new(2, &noise(3, rows * cols));
    for m in [1, 2, 4, 5, 13] {
        let x = noise(4, m * cols);
        let one = on_threads(1, || product(Isa::widest(), &x, cols, weights.slice()));
        let three = on_threads(3, || product(Isa::widest(), &x, cols, weights.slice()));
        assert_same_bits(&one, &three);
    }
}

#[test]
fn several_products_of_a_call_are_each_what_they_are_alone() {
    let cols = 96;
    for m in [1, 3, 9] {
        let x = noise(5, m * cols);
        let weights = [Stored::new(0, &noise(6, 40 * cols)), Stored::new(1, &noise(7, cols)), Stored::new(2, &[])];
        let mut outs = [vec![0.0; m * 40], vec![0.0; m], vec![]];
        let [first, second, third] = &mut outs;
        let products = [
            Product { weights: Weights::Stored(weights[0].slice()), out: first, stride: 40 },
            Product { weights: Weights::Stored(weights[1].slice()), out: second, stride: 1 },
            Product { weights: Weights::Stored(weights[2].slice()), out: third, stride: 0 },
        ];
        matmul(Isa::widest(), &x, cols, products);
        for (weights, out) in weights.iter().zip(&outs) {
            assert_same_bits(&product(Isa::widest(), &x, cols, weights.slice()), out);
        }
    }
}

#[test]
fn columns_past_the_product_stay_as_they_were() {
    let (cols, rows, stride) = (33, 5, 9);
    let weights = Stored::new(2, &noise(8, rows * cols));
    for m in [1, 2, 7] {
        let x = noise(9, m * cols);
        let mut out = vec![7.0; m * stride];
        matmul(Isa::widest(), &x, cols, [Product { weights: Weights::Stored(weights.slice()), out: &mut out, stride }]);
        let expected = product(Isa::widest(), &x, cols, weights.slice());
        for (out, expected) in out.chunks_exact(stride).zip(expected.chunks_exact(rows)) {
            assert_same_bits(&out[..rows], expected);
            assert_eq!(out[rows..], [7.0; 4]);
        }
    }
}

#[test]
fn subnormal_weights_count() {
    let tiny = f32::MIN_POSITIVE / 4.0;
    for kind in [0, 2] {
        let weights = Stored::new(kind, &[tiny; 20]);
        let value = weights.values()[0];
        assert!(value > 0.0);
        for isa in Isa::available() {
            assert_eq!(product(isa, &[1.0; 20], 20, weights.slice()), [20.0 * value], "{isa}");
        }
    }
}
