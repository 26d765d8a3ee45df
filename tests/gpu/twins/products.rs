//! Products of rows with matrices, few at a time and many.

use loquent::gpu::plan::stride;
use loquent::gpu::variant::{Outcome, Reduction, Variant};
use loquent::gpu::{Format, GpuContext};
use proptest::prelude::*;

use super::table::Table;
use super::weights::{FORMATS, Matrix};
use crate::device::context;
use crate::harness::{Dispatch, Found, POISON, assert_close, assert_same_bits, noise, poison, strided};

const EPS: f32 = 1e-6;

/// Sums of up to some thousand products, each rounded by as much as single precision does: about 10⁻¹⁴ to 10⁻¹³.
const BOUND: f64 = 1e-11;

/// Ways to add up lanes that the adapter can run.
fn reductions(context: &GpuContext) -> Vec<Reduction> {
    let info = context.info();
    let subgroups = context.device().features().contains(wgpu::Features::SUBGROUP);
    let mut found = vec![Reduction::Tree];
    if subgroups && info.subgroup_min_size >= 8 {
        found.push(Reduction::Subgroup);
    }
    if subgroups && info.subgroup_min_size == 32 && info.subgroup_max_size == 32 {
        found.push(Reduction::Subgroup32);
    } else {
        let (least, most) = (info.subgroup_min_size, info.subgroup_max_size);
        eprintln!("skipped: sums over subgroups of 32, where {} has {least} to {most} lanes", info.name);
    }
    found
}

/// A product of few rows.
#[derive(Clone, Debug)]
struct Few {
    format: Format,
    reduction: Reduction,
    /// Rows that a pass takes, and how many there are.
    at_once: u32,
    count: usize,
    cols: usize,
    rows: usize,
    normed: bool,
    outcome: Outcome,
    listed: bool,
    skipped: usize,
    out_first: usize,
    scale: f32,
    seed: u64,
}

impl Few {
    fn out_stride(&self) -> usize {
        stride(self.out_first + self.rows + 5)
    }

    /// What was in the output before.
    fn before(&self) -> Vec<f32> {
        noise(self.seed ^ 2, (self.count + 1) * self.out_stride())
    }

    fn matrix(&self) -> Matrix {
        let rows = if self.outcome == Outcome::SiluMul { 2 * self.rows } else { self.rows };
        Matrix::new(self.format, self.skipped, rows, self.cols, self.seed)
    }

    /// `[count, cols]`
    fn inputs(&self, cols: usize) -> Vec<f32> {
        noise(self.seed ^ 1, self.count * cols).iter().map(|x| self.scale * x).collect()
    }

    fn dispatch(&self, matrix: &Matrix, x: &[f32]) -> Dispatch {
        let cols = matrix.cols;
        let mut table = Table::default();
        // Listed rows come in another order, between rows that nobody may read.
        let places: Vec<usize> =
            (0..self.count).map(|row| if self.listed { 2 * (self.count - row) } else { row }).collect();
        let mut spread = vec![poison(); (2 * self.count + 1) * stride(cols)];
        for (row, &place) in strided(x, cols, stride(cols)).chunks(stride(cols)).zip(&places) {
            spread[place * stride(cols)..][..row.len()].copy_from_slice(row);
        }
        if self.listed {
            table.logit_rows = places.iter().map(|&place| place as u32).collect();
        }
        let norm_first = 4;
        let mut vectors = vec![poison(); norm_first];
        vectors.extend(noise(self.seed ^ 3, cols));
        vectors.push(poison());
        let numbers = [
            cols,
            stride(cols),
            self.out_stride(),
            self.rows,
            self.skipped,
            self.rows,
            self.out_first,
            0,
            self.count,
            if self.normed { norm_first } else { 0 },
        ];
        let mut params = numbers.map(|number| number as u32).to_vec();
        params.extend([EPS.to_bits(), u32::from(self.listed), 0, 0, 0, 0]);
        // Teams of a workgroup of 64 threads; each computes two rows, or a pair.
        let teams = if self.reduction == Reduction::Subgroup32 { 2 } else { 8 };
        let per_group = if self.outcome == Outcome::SiluMul { teams } else { 2 * teams };
        let groups = self.rows.div_ceil(per_group) as u32;
        let fold = 32_768;
        let grid = [groups.min(fold), groups.div_ceil(fold), (self.count as u32).div_ceil(self.at_once)];
        let variant = Variant::matvec(self.format, self.reduction, self.at_once, self.normed, self.outcome);
        let dispatch = Dispatch::new(variant, &params, grid)
            .words("table", table.words())
            .floats("vectors", &vectors)
            .floats("x", &spread)
            .floats("out", &self.before());
        matrix.bind(dispatch)
    }

    fn expected(&self, matrix: &Matrix, x: &[f32]) -> Vec<f64> {
        let cols = matrix.cols;
        let scales = noise(self.seed ^ 3, cols);
        let before = self.before();
        let mut expected = Vec::new();
        for (index, x) in x.chunks(cols).enumerate() {
            let mut x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
            if self.normed {
                let inverse = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / cols as f64 + f64::from(EPS)).sqrt();
                x.iter_mut().zip(&scales).for_each(|(x, &scale)| *x *= inverse * f64::from(scale));
            }
            let product =
                |row: usize| matrix.row(row).iter().zip(&x).map(|(&weight, x)| f64::from(weight) * x).sum::<f64>();
            expected.extend((0..self.rows).map(|row| match self.outcome {
                Outcome::Store => product(row),
                Outcome::Add => product(row) + f64::from(before[index * self.out_stride() + self.out_first + row]),
                Outcome::SiluMul => {
                    let gate = product(row);
                    gate / (1.0 + (-gate).exp()) * product(row + self.rows)
                }
            }));
        }
        expected
    }

    /// The rows of the result; all else is as it was before.
    fn taken(&self, found: &Found) -> Vec<f32> {
        let (before, found) = (self.before(), found.floats("out"));
        let mut taken = Vec::new();
        for (index, (found, before)) in
            found.chunks(self.out_stride()).zip(before.chunks(self.out_stride())).enumerate()
        {
            let columns = if index < self.count { self.out_first..self.out_first + self.rows } else { 0..0 };
            taken.extend(&found[columns.clone()]);
            assert_same_bits(&found[..columns.start], &before[..columns.start], "columns before");
            assert_same_bits(&found[columns.end..], &before[columns.end..], "columns after");
        }
        taken
    }

    fn check(&self, context: &GpuContext) {
        let matrix = self.matrix();
        let x = self.inputs(matrix.cols);
        let expected = self.expected(&matrix, &x);
        for found in self.dispatch(&matrix, &x).run(context) {
            assert_close(&self.taken(&found), &expected, BOUND, &format!("{self:?}"));
        }
    }
}

const USUAL: Few = Few {
    format: Format::Q4,
    reduction: Reduction::Tree,
    at_once: 1,
    count: 1,
    cols: 320,
    rows: 37,
    normed: false,
    outcome: Outcome::Store,
    listed: false,
    skipped: 3,
    out_first: 2,
    scale: 1.0,
    seed: 7,
};

/// What becomes of products, as layers ask for it.
const OUTCOMES: [(bool, Outcome); 4] =
    [(false, Outcome::Store), (true, Outcome::Store), (false, Outcome::Add), (true, Outcome::SiluMul)];

pub fn matvec_multiplies(context: &GpuContext) {
    for reduction in reductions(context) {
        for (format, outcome) in FORMATS.into_iter().zip([Outcome::Store, Outcome::SiluMul].into_iter().cycle()) {
            experts_multiply(context, format, reduction, outcome);
        }
        for (index, (format, cols)) in FORMATS.into_iter().zip([33, 100, 257, 320, 96, 512, 256, 768]).enumerate() {
            // Each number of rows meets each outcome in one format.
            for (at_once, (normed, outcome)) in [1, 2, 4, 8].into_iter().zip(OUTCOMES.into_iter().cycle().skip(index)) {
                let few = Few { format, reduction, at_once, cols, normed, outcome, ..USUAL };
                Few { count: at_once as usize, ..few.clone() }.check(context);
                // Not a whole pass; beyond 8, more than one.
                Few { count: at_once as usize * 2 - 1, listed: true, skipped: 0, ..few }.check(context);
            }
        }
    }
}

/// Rows that share inputs by threes, each with the matrix of its expert, of which the first and the last are elsewhere.
fn experts_multiply(context: &GpuContext, format: Format, reduction: Reduction, outcome: Outcome) {
    let (experts, first_expert, rows, sharing) = (4, 2, 21, 3);
    let own = if outcome == Outcome::SiluMul { 2 * rows } else { rows };
    // Between the matrices lie rows of others.
    let (skipped, expert_rows) = (2, own + 5);
    let matrix = Matrix::new(format, skipped, experts * expert_rows, 100, 3);
    let cols = matrix.cols;
    let picked = [1u32, 2, 5, 3, 2, 6, 4, 5, 2];
    let x = noise(5, picked.len() / sharing * cols);
    let out_stride = stride(rows + 3);
    let untouched = noise(6, picked.len() * out_stride);
    let half = if outcome == Outcome::SiluMul { rows } else { 0 };
    let numbers = [cols, stride(cols), out_stride, rows, skipped, half, 0, 0, picked.len(), 0, 0, 0];
    let params: Vec<u32> =
        numbers.into_iter().chain([first_expert, experts, expert_rows, sharing]).map(|number| number as u32).collect();
    let teams = if reduction == Reduction::Subgroup32 { 2 } else { 8 };
    let per_group = if outcome == Outcome::SiluMul { teams } else { 2 * teams };
    let grid = [rows.div_ceil(per_group) as u32, 1, picked.len() as u32];
    let dispatch = Dispatch::new(Variant::expert_matvec(format, reduction, outcome), &params, grid)
        .words("table", picked.iter().flat_map(|&expert| [expert, POISON]).collect())
        .floats("vectors", &[poison(); 4])
        .floats("x", &strided(&x, cols, stride(cols)))
        .floats("out", &untouched);
    for found in matrix.bind(dispatch).run(context) {
        let found = found.floats("out");
        for (index, &expert) in picked.iter().enumerate() {
            let [found, before] = [&found, &untouched].map(|all| &all[index * out_stride..][..out_stride]);
            let Some(place) = (expert as usize).checked_sub(first_expert).filter(|&place| place < experts) else {
                assert_same_bits(found, before, "a row of an expert that is elsewhere");
                continue;
            };
            let x = &x[index / sharing * cols..][..cols];
            let product = |row: usize| -> f64 {
                let weights = matrix.row(place * expert_rows + row);
                weights.iter().zip(x).map(|(&weight, &x)| f64::from(weight) * f64::from(x)).sum()
            };
            let expected: Vec<f64> = (0..rows)
                .map(|row| match outcome {
                    Outcome::SiluMul => product(row) / (1.0 + (-product(row)).exp()) * product(row + rows),
                    _ => product(row),
                })
                .collect();
            assert_close(&found[..rows], &expected, BOUND, &format!("{format} {reduction:?} {outcome:?} {index}"));
            assert_same_bits(&found[rows..], &before[rows..], "columns after");
        }
    }
}

#[test]
fn rows_of_a_matrix_that_do_not_fit_one_dimension_are_folded() {
    let Some(context) = context() else { return };
    Few { cols: 32, rows: 32_768 * 16 + 5, ..USUAL }.check(&context);
}

#[test]
fn products_take_what_a_half_cannot_hold() {
    let Some(context) = context() else { return };
    for format in FORMATS {
        for (normed, outcome) in [(false, Outcome::Store), (true, Outcome::Store)] {
            // Far above 65 504, also after the norm's weights.
            let few = Few { format, at_once: 2, count: 2, normed, outcome, scale: 1e7, ..USUAL };
            few.check(&context);
        }
        Many { format, scale: 1e7, ..MANY }.check(&context);
    }
}

/// The bits of a row may not depend on how many rows share a pass, nor on what they are.
#[test]
fn a_row_of_few_has_the_same_bits_whoever_shares_its_pass() {
    let Some(context) = context() else { return };
    for reduction in reductions(&context) {
        for (index, format) in FORMATS.into_iter().enumerate() {
            // Of the outcomes, those that a format has here are enough: all go through the same sums.
            for (normed, outcome) in [OUTCOMES[index % 4], OUTCOMES[(index + 2) % 4]] {
                let whole = Few { format, reduction, at_once: 8, count: 8, normed, outcome, ..USUAL };
                let matrix = whole.matrix();
                let x = whole.inputs(matrix.cols);
                let bits = |few: &Few, x: &[f32]| few.taken(&few.dispatch(&matrix, x).run_once(&context, false));
                let expected = bits(&whole, &x);
                for at_once in [1, 2, 4] {
                    let found = bits(&Few { at_once, ..whole.clone() }, &x);
                    assert_same_bits(&found, &expected, &format!("{at_once} rows at once: {whole:?}"));
                }
                // What is there before is that of the first rows, whatever `count` is.
                for row in [0, 2] {
                    let mut among_others = vec![poison(); x.len()];
                    let kept = row * matrix.cols..(row + 1) * matrix.cols;
                    among_others[kept.clone()].copy_from_slice(&x[kept]);
                    let found =
                        bits(&Few { count: row + 1, ..whole.clone() }, &among_others[..(row + 1) * matrix.cols]);
                    let of_row = row * whole.rows..(row + 1) * whole.rows;
                    assert_same_bits(&found[of_row.clone()], &expected[of_row], &format!("row {row} alone: {whole:?}"));
                }
            }
        }
    }
}

/// A product of many rows.
#[derive(Clone, Debug)]
struct Many {
    format: Format,
    first: usize,
    count: usize,
    cols: usize,
    rows: usize,
    add: bool,
    skipped: usize,
    out_first: usize,
    scale: f32,
    seed: u64,
}

const MANY: Many = Many {
    format: Format::Q4,
    first: 1,
    count: 5,
    cols: 100,
    rows: 67,
    add: false,
    skipped: 2,
    out_first: 3,
    scale: 1.0,
    seed: 9,
};

impl Many {
    fn out_stride(&self) -> usize {
        stride(self.out_first + self.rows + 3)
    }

    fn before(&self) -> Vec<f32> {
        noise(self.seed ^ 2, (self.first + self.count + 1) * self.out_stride())
    }

    fn matrix(&self) -> Matrix {
        Matrix::new(self.format, self.skipped, self.rows, self.cols, self.seed)
    }

    /// `[count, cols]`
    fn inputs(&self, cols: usize) -> Vec<f32> {
        noise(self.seed ^ 1, self.count * cols).iter().map(|x| self.scale * x).collect()
    }

    fn dispatch(&self, matrix: &Matrix, x: &[f32]) -> Dispatch {
        let cols = matrix.cols;
        let mut rows = vec![poison(); self.first * stride(cols)];
        rows.extend(strided(x, cols, stride(cols)));
        rows.extend(vec![poison(); stride(cols)]);
        let params =
            [cols, stride(cols), self.out_stride(), self.rows, self.skipped, self.out_first, self.first, self.count];
        let grid = [self.rows.div_ceil(64) as u32, self.count.div_ceil(64) as u32, 1];
        let variant = Variant::matmul(self.format, self.add);
        let dispatch = Dispatch::new(variant, &params.map(|number| number as u32), grid)
            .floats("x", &rows)
            .floats("out", &self.before());
        matrix.bind(dispatch)
    }

    /// The rows of the result; all else is as it was before.
    fn taken(&self, found: &Found) -> Vec<f32> {
        let (before, found) = (self.before(), found.floats("out"));
        let mut taken = Vec::new();
        let rows = found.chunks(self.out_stride()).zip(before.chunks(self.out_stride()));
        for (index, (found, before)) in rows.enumerate() {
            let is_written = (self.first..self.first + self.count).contains(&index);
            let columns = if is_written { self.out_first..self.out_first + self.rows } else { 0..0 };
            taken.extend(&found[columns.clone()]);
            assert_same_bits(&found[..columns.start], &before[..columns.start], "columns before");
            assert_same_bits(&found[columns.end..], &before[columns.end..], "columns after");
        }
        taken
    }

    fn check(&self, context: &GpuContext) {
        let matrix = self.matrix();
        let x = self.inputs(matrix.cols);
        let before = self.before();
        let mut expected = Vec::new();
        for (index, x) in x.chunks(matrix.cols).enumerate() {
            for row in 0..self.rows {
                let sum: f64 = matrix.row(row).iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
                let at = (self.first + index) * self.out_stride() + self.out_first + row;
                expected.push(sum + if self.add { f64::from(before[at]) } else { 0.0 });
            }
        }
        for found in self.dispatch(&matrix, &x).run(context) {
            assert_close(&self.taken(&found), &expected, BOUND, &format!("{self:?}"));
        }
    }
}

pub fn matmul_multiplies(context: &GpuContext) {
    for format in FORMATS {
        for (count, cols, rows, add) in
            [(1, 1, 1, false), (64, 33, 64, true), (65, 100, 130, false), (131, 64, 3, true)]
        {
            Many { format, count, cols, rows, add, ..MANY }.check(context);
        }
    }
}

#[test]
fn a_row_of_many_has_the_same_bits_at_every_place_of_a_tile() {
    let Some(context) = context() else { return };
    for format in FORMATS {
        let whole = Many { format, count: 70, ..MANY };
        let matrix = whole.matrix();
        let x = whole.inputs(matrix.cols);
        let bits = |many: &Many, x: &[f32]| many.taken(&many.dispatch(&matrix, x).run_once(&context, false));
        let expected = bits(&whole, &x);
        for row in [0, 15, 63, 64, 69] {
            for count in [1, 18, 66] {
                // At the end, and after rows that are no numbers.
                let mut rows = vec![poison(); (count - 1) * matrix.cols];
                rows.extend(&x[row * matrix.cols..(row + 1) * matrix.cols]);
                let found = bits(&Many { count, ..whole.clone() }, &rows);
                let expected = &expected[row * whole.rows..(row + 1) * whole.rows];
                assert_same_bits(&found[(count - 1) * whole.rows..], expected, &format!("row {row} of {whole:?}"));
            }
        }
    }
}

fn any_format() -> impl Strategy<Value = Format> {
    prop::sample::select(FORMATS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn few_rows_of_any_shape_are_multiplied(
        format in any_format(), at_once in prop::sample::select(vec![1, 8]), count in 1..20_usize, cols in 1..600_usize,
        rows in 1..90_usize, pick in 0..4_usize, listed: bool, skipped in 0..4_usize, out_first in 0..5_usize, seed: u64,
    ) {
        if let Some(context) = context() {
            // One outcome for a format and number of rows: every further variant is compiled.
            let (normed, outcome) = OUTCOMES[if at_once == 1 { 1 } else { pick % 2 * 3 }];
            let few = Few {
                format, reduction: Reduction::Tree, at_once, count, cols, rows, normed, outcome, listed, skipped,
                out_first, scale: 1.0, seed,
            };
            few.check(&context);
        }
    }

    #[test]
    fn many_rows_of_any_shape_are_multiplied(
        format in any_format(), first in 0..3_usize, count in 1..150_usize, cols in 1..200_usize, rows in 1..150_usize,
        add: bool, skipped in 0..4_usize, out_first in 0..5_usize, seed: u64,
    ) {
        if let Some(context) = context() {
            Many { format, first, count, cols, rows, add, skipped, out_first, scale: 1.0, seed }.check(&context);
        }
    }
}
