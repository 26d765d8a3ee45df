//! Gathering, norms, gates and copies.

use loquent::cpu::Isa;
use loquent::cpu::kernels::{self, WeightSlice, Weights};
use loquent::gpu::Format;
use loquent::gpu::GpuContext;
use loquent::gpu::plan::stride;
use loquent::gpu::variant::Variant;
use proptest::prelude::*;

use super::table::Table;
use super::weights::{FORMATS, Matrix};
use crate::device::context;
use crate::harness::{Dispatch, POISON, assert_close, assert_same_bits, noise, poison, strided};

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Some rows of a matrix, of which those before `before` lie elsewhere. Tokens are named by the host, or picked on the device.
fn embed_agrees(
    context: &GpuContext,
    format: Format,
    hidden: usize,
    [before, vocab]: [usize; 2],
    tokens: &[(u32, bool)],
    seed: u64,
) {
    let matrix = Matrix::new(format, 2, vocab - before, hidden, seed);
    let hidden = matrix.cols;
    let all: Vec<f32> = noise(seed ^ 1, before * hidden).iter().chain(&matrix.wide).copied().collect();
    // Picks lie in the order of their rows, turned round.
    let picks: Vec<u32> = tokens.iter().rev().map(|&(token, _)| token).collect();
    let places = (0..tokens.len() as u32).rev();
    let rows = tokens.iter().zip(places).map(|(&(token, is_picked), place)| {
        let token = if is_picked { 1 << 31 | place } else { token };
        [token, POISON, POISON]
    });
    let table = Table { rows: rows.collect(), ..Table::default() };
    let untouched = vec![poison(); (tokens.len() + 1) * stride(hidden)];
    let params = [hidden, stride(hidden), before, vocab - before, matrix.skipped].map(|word| word as u32);
    let dispatch = Dispatch::new(Variant::embed(format), &params, [tokens.len() as u32, 1, 1])
        .words("table", table.words())
        .words("picks", picks)
        .floats("out", &untouched);
    for found in matrix.bind(dispatch).run(context) {
        let found = found.floats("out");
        let (rows, after) = found.split_at(tokens.len() * stride(hidden));
        assert_same_bits(after, &untouched[..stride(hidden)], "the row after the last");
        for (row, &(token, _)) in rows.chunks_exact(stride(hidden)).zip(tokens) {
            if (before..vocab).contains(&(token as usize)) {
                let mut expected = vec![0.0; hidden];
                kernels::embed(Weights::Stored(WeightSlice::F32(&all)), hidden, &[token], &mut expected);
                assert_same_bits(&row[..hidden], &expected, &format!("token {token} of {format}"));
            } else {
                assert_same_bits(row, &untouched[..stride(hidden)], "a token of another part, or none");
            }
        }
    }
}

pub fn embed_gathers_rows(context: &GpuContext) {
    for format in FORMATS {
        for hidden in [1, 31, 33, 100, 256] {
            let tokens =
                [(9, false), (22, true), (3, false), (14, true), (8, true), (14, false), (23, false), (u32::MAX, true)];
            embed_agrees(context, format, hidden, [9, 23], &tokens, 5);
        }
    }
}

fn rms_norm_agrees(context: &GpuContext, first: usize, rows: usize, cols: usize, scale: f32, seed: u64) {
    let eps = 1e-6;
    let x: Vec<f32> = noise(seed, (first + rows) * cols).iter().map(|x| scale * x).collect();
    let norm = noise(seed ^ 1, cols);
    let mut vectors = vec![poison(); 8];
    vectors.extend(&norm);
    vectors.push(poison());
    let untouched = vec![poison(); (first + rows + 1) * stride(cols)];
    let mut params = [cols, stride(cols), first, 8].map(|word| word as u32).to_vec();
    params.push(f32::to_bits(eps));
    let dispatch = Dispatch::new(Variant::rms_norm(), &params, [rows as u32, 1, 1])
        .floats("vectors", &vectors)
        .floats("x", &strided(&x, cols, stride(cols)))
        .floats("out", &untouched);
    let mut expected = vec![0.0; rows * cols];
    kernels::rms_norm(Isa::SCALAR, &x[first * cols..], cols, &norm, eps, &mut expected);
    for found in dispatch.run(context) {
        let found = found.floats("out");
        let written = strided(&expected, cols, stride(cols));
        let range = first * stride(cols)..(first + rows) * stride(cols);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (found, expected) in found[range.clone()].chunks(stride(cols)).zip(written.chunks(stride(cols))) {
            left.extend(&found[..cols]);
            right.extend(wide(&expected[..cols]));
            assert_same_bits(&found[cols..], &expected[cols..], "padding");
        }
        assert_close(&left, &right, 1e-12, "rms_norm");
        assert_same_bits(&found[..range.start], &untouched[..range.start], "rows before");
        assert_same_bits(&found[range.end..], &untouched[range.end..], "rows after");
    }
}

pub fn rms_norm_normalises(context: &GpuContext) {
    for (first, rows, cols, scale) in [(0, 1, 1, 1.0), (3, 2, 64, 1e5), (0, 5, 1023, 1e-3), (1, 70, 33, 1.0)] {
        rms_norm_agrees(context, first, rows, cols, scale, 3);
    }
}

fn silu_mul_agrees(context: &GpuContext, first: usize, rows: usize, width: usize, seed: u64) {
    let both: Vec<f32> = noise(seed, (first + rows) * 2 * width).iter().map(|x| 30.0 * x).collect();
    let untouched = vec![poison(); (first + rows + 1) * stride(width)];
    let params = [width, stride(2 * width), stride(width), first].map(|word| word as u32);
    let grid = [width.div_ceil(64) as u32, rows as u32, 1];
    let dispatch = Dispatch::new(Variant::silu_mul(), &params, grid)
        .floats("gate_up", &strided(&both, 2 * width, stride(2 * width)))
        .floats("out", &untouched);
    let mut expected = vec![0.0; rows * width];
    for (both, expected) in both.chunks(2 * width).skip(first).zip(expected.chunks_mut(width)) {
        let (gate, up) = both.split_at(width);
        kernels::silu_mul(Isa::SCALAR, gate, up, expected);
    }
    for found in dispatch.run(context) {
        let found = found.floats("out");
        let mut close = Vec::new();
        for (row, found) in found.chunks(stride(width)).enumerate() {
            let (values, rest) = found.split_at(width);
            assert!(rest.iter().all(|value| value.to_bits() == POISON), "padding");
            if (first..first + rows).contains(&row) {
                close.extend(values);
            } else {
                assert!(values.iter().all(|value| value.to_bits() == POISON), "row {row}");
            }
        }
        assert_close(&close, &wide(&expected), 1e-12, "silu_mul");
    }
}

pub fn silu_mul_gates(context: &GpuContext) {
    for (first, rows, width) in [(0, 1, 1), (0, 2, 64), (2, 3, 65), (1, 1, 200)] {
        silu_mul_agrees(context, first, rows, width, 4);
    }
}

#[test]
fn gates_far_from_zero_are_the_input_or_nothing() {
    let Some(context) = context() else { return };
    let gates = [-1e30, -1e4, -104.0, -89.0, -88.0, -0.0, 0.0, 88.0, 1e4, 1e30];
    let mut both = gates.to_vec();
    both.extend([1.0; 10]);
    let width = gates.len();
    let params = [width, 2 * width, width, 0].map(|word| word as u32);
    let dispatch = Dispatch::new(Variant::silu_mul(), &params, [1, 1, 1])
        .floats("gate_up", &both)
        .floats("out", &vec![poison(); width]);
    for found in dispatch.run(&context) {
        for (found, gate) in found.floats("out").into_iter().zip(gates) {
            let expected = f64::from(gate) / (1.0 + (-f64::from(gate)).exp());
            // Where the sigmoid is clamped to e^-88, what is left of the gate is still next to nothing.
            let bound = 1e-6 * expected.abs() + 1e-37 * f64::from(gate.abs());
            assert!((f64::from(found) - expected).abs() <= bound, "silu({gate}) is {found}, expected {expected}");
        }
    }
}

pub fn copy_blocks_copies(context: &GpuContext) {
    for (words, width) in [(1, 1), (255, 1), (256, 2), (1000, 1), (5000, 3)] {
        let count = 7;
        let blocks: Vec<u32> = (0..words * count).collect();
        let pairs = [(POISON, POISON), (5, 0), (2, 6), (2, 3)];
        let params = [words, 1];
        let dispatch = Dispatch::new(Variant::copy_blocks(width), &params, [width, 3, 1])
            .words("pairs", pairs.iter().flat_map(|&(from, to)| [from, to]).collect())
            .words("blocks", blocks.clone());
        let mut expected = blocks;
        for &(from, to) in &pairs[1..] {
            let (from, words) = ((from * words) as usize, words as usize);
            expected.copy_within(from..from + words, to as usize * words);
        }
        for found in dispatch.run(context) {
            assert!(found.words("blocks") == expected, "{words} words by {width} workgroups");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_rows_of_a_matrix_are_gathered(
        format in prop::sample::select(FORMATS.to_vec()), hidden in 1..300_usize, before in 0..20_usize,
        rows in 1..40_usize, tokens in prop::collection::vec((0..70_u32, any::<bool>()), 1..9), seed: u64,
    ) {
        if let Some(context) = context() {
            embed_agrees(&context, format, hidden, [before, before + rows], &tokens, seed);
        }
    }

    #[test]
    fn any_rows_are_normalised(first in 0..3_usize, rows in 1..9_usize, cols in 1..700_usize, seed: u64) {
        if let Some(context) = context() {
            rms_norm_agrees(&context, first, rows, cols, 1.0, seed);
        }
    }

    #[test]
    fn any_rows_are_gated(first in 0..3_usize, rows in 1..9_usize, width in 1..300_usize, seed: u64) {
        if let Some(context) = context() {
            silu_mul_agrees(&context, first, rows, width, seed);
        }
    }
}
