//! The rule against its definition, and its bits against each other.

use proptest::prelude::*;

use super::*;
use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

struct Case {
    shape: DeltaShape,
    qkv: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    decay_rate: Vec<f32>,
    dt_bias: Vec<f32>,
}

/// The key head that a value head reads.
fn key_head(shape: DeltaShape, value_head: usize) -> usize {
    if shape.tiled { value_head % shape.key_heads } else { value_head / shape.group() }
}

/// What a layer remembers, after `positions` rows.
#[derive(Clone)]
struct Memory {
    positions: usize,
    rows: Vec<f32>,
    state: Vec<f32>,
}

impl Memory {
    /// At the start of a sequence, but that there is a state already.
    fn new(shape: DeltaShape, seed: u64) -> Self {
        let mut state = noise(seed, shape.state_len());
        for (i, number) in state.iter_mut().enumerate() {
            let (_, _, column) = place(shape, i);
            if column >= shape.value_head_dim {
                *number = 0.0;
            }
        }
        Self { positions: 0, rows: vec![0.0; shape.rows_len()], state }
    }

    /// The numbers that count of the rows: keys, pseudo-values and decays of each.
    fn used(&self, shape: DeltaShape) -> Vec<[Vec<f32>; 3]> {
        let take = |heads: usize, at: &dyn Fn(usize) -> Range<usize>| {
            (0..heads).flat_map(|head| self.rows[at(head)].to_vec()).collect::<Vec<_>>()
        };
        (0..self.positions % DELTA_CHUNK)
            .map(|row| {
                let decay_at = |head| shape.decay_at(head, row)..shape.decay_at(head, row) + 1;
                [
                    take(shape.key_heads, &|head| shape.key_at(head, row)),
                    take(shape.value_heads, &|head| shape.pseudo_value_at(head, row)),
                    take(shape.value_heads, &decay_at),
                ]
            })
            .collect()
    }

    /// The state after all rows, `[value_heads, key_head_dim, value_head_dim]`.
    fn state(&self, shape: DeltaShape) -> Vec<f64> {
        let (dk, dv) = (shape.key_head_dim, shape.value_head_dim);
        let mut state = vec![0.0; shape.value_heads * dk * dv];
        for (i, &number) in self.state.iter().enumerate() {
            let (head, row, column) = place(shape, i);
            if column < dv {
                state[(head * dk + row) * dv + column] = f64::from(number);
            }
        }
        for [keys, pseudo_values, decays] in self.used(shape) {
            for (i, number) in state.iter_mut().enumerate() {
                let (head, key, column) = (i / dv / dk, i / dv % dk, i % dv);
                let key = f64::from(keys[key_head(shape, head) * dk + key]);
                *number = *number * f64::from(decays[head]) + key * f64::from(pseudo_values[head * dv + column]);
            }
        }
        state
    }
}

/// The head, row and column of a number of the state, by the layout that [`DeltaMemory`] promises.
fn place(shape: DeltaShape, index: usize) -> (usize, usize, usize) {
    let (head, within) = (index / shape.head_len(), index % shape.head_len());
    let block = within / (shape.key_head_dim * BLOCK_LINES * LANES);
    let first = block * BLOCK_LINES * LANES;
    let width = (shape.value_head_dim.next_multiple_of(LANES) - first).min(BLOCK_LINES * LANES);
    let within = within - first * shape.key_head_dim;
    (head, within / width, first + within % width)
}

impl Case {
    fn new(shape: DeltaShape, rows: usize, seed: u64) -> Self {
        let times = |factor: f32, x: Vec<f32>| x.into_iter().map(|x| factor * x).collect::<Vec<_>>();
        let heads = shape.value_heads;
        Self {
            shape,
            qkv: noise(seed, rows * shape.qkv_dim()),
            a: times(4.0, noise(seed ^ 1, rows * heads)),
            b: times(4.0, noise(seed ^ 2, rows * heads)),
            decay_rate: noise(seed ^ 3, heads).into_iter().map(|x| -x.exp()).collect(),
            dt_bias: noise(seed ^ 4, heads),
        }
    }

    fn rows(&self) -> usize {
        self.a.len() / self.shape.value_heads
    }

    /// Runs some of the rows.
    fn run(&self, isa: Isa, rows: Range<usize>, memory: &mut Memory) -> Vec<f32> {
        let shape = self.shape;
        let range = |width: usize| rows.start * width..rows.end * width;
        let inputs = DeltaInputs {
            qkv: &self.qkv[range(shape.qkv_dim())],
            a: &self.a[range(shape.value_heads)],
            b: &self.b[range(shape.value_heads)],
            decay_rate: &self.decay_rate,
            dt_bias: &self.dt_bias,
        };
        let since = memory.positions % DELTA_CHUNK;
        let state = if since + rows.len() < DELTA_CHUNK {
            DeltaChunk::Kept(&memory.state)
        } else {
            DeltaChunk::Advanced(&mut memory.state)
        };
        let mut out = vec![f32::NAN; rows.len() * shape.value_dim()];
        delta_rule(isa, shape, &inputs, DeltaMemory { since, rows: &mut memory.rows, state }, &mut out);
        memory.positions += rows.len();
        out
    }

    /// Runs all rows in calls of `part` rows.
    fn run_all(&self, isa: Isa, part: usize, mut memory: Memory) -> (Vec<f32>, Memory) {
        let mut out = Vec::new();
        for first in (0..self.rows()).step_by(part) {
            out.extend(self.run(isa, first..(first + part).min(self.rows()), &mut memory));
        }
        (out, memory)
    }

    /// The definition in f64.
    fn naive(&self, memory: &Memory) -> (Vec<f64>, Vec<f64>) {
        let shape = self.shape;
        let (dk, dv) = (shape.key_head_dim, shape.value_head_dim);
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let mut state = memory.state(shape);
        let mut out = Vec::new();
        for (row, qkv) in self.qkv.chunks(shape.qkv_dim()).enumerate() {
            for head in 0..shape.value_heads {
                let key_head = key_head(shape, head);
                let unit = |x: &[f32], scale: f64| {
                    let x = wide(x);
                    let length = (x.iter().map(|x| x * x).sum::<f64>() + 1e-6).sqrt();
                    x.iter().map(|x| x / length * scale).collect::<Vec<_>>()
                };
                let q = unit(&qkv[key_head * dk..][..dk], (dk as f64).powf(-0.5));
                let k = unit(&qkv[shape.key_dim() + key_head * dk..][..dk], 1.0);
                let v = wide(&qkv[2 * shape.key_dim() + head * dv..][..dv]);
                let index = row * shape.value_heads + head;
                let a = f64::from(self.a[index]) + f64::from(self.dt_bias[head]);
                let decay = (f64::from(self.decay_rate[head]) * a.exp().ln_1p()).exp();
                let beta = 1.0 / (1.0 + (-f64::from(self.b[index])).exp());
                let state = &mut state[head * dk * dv..][..dk * dv];
                state.iter_mut().for_each(|s| *s *= decay);
                for j in 0..dv {
                    let memory: f64 = (0..dk).map(|i| k[i] * state[i * dv + j]).sum();
                    let delta = (v[j] - memory) * beta;
                    (0..dk).for_each(|i| state[i * dv + j] += k[i] * delta);
                    out.push((0..dk).map(|i| q[i] * state[i * dv + j]).sum());
                }
            }
        }
        (out, state)
    }
}

#[track_caller]
fn assert_same(shape: DeltaShape, a: &(Vec<f32>, Memory), b: &(Vec<f32>, Memory)) {
    assert_same_bits(&a.0, &b.0);
    assert_eq!(a.1.positions, b.1.positions);
    assert_same_bits(&a.1.used(shape).concat().concat(), &b.1.used(shape).concat().concat());
    assert_same_bits(&a.1.state, &b.1.state);
}

fn narrow(exact: &[f64]) -> Vec<f32> {
    exact.iter().map(|&x| x as f32).collect()
}

fn shapes() -> impl Strategy<Value = DeltaShape> {
    (1..4_usize, 1..4_usize, 1..40_usize, 1..90_usize, any::<bool>()).prop_map(|(key_heads, group, dk, dv, tiled)| {
        DeltaShape { tiled, key_heads, value_heads: key_heads * group, key_head_dim: dk, value_head_dim: dv }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn agrees_with_f64_on_every_isa_and_split(shape in shapes(), rows in 0..40_usize, part in 1..20_usize, seed: u64) {
        let (case, memory) = (Case::new(shape, rows, seed), Memory::new(shape, seed ^ 5));
        let whole = case.run_all(Isa::SCALAR, 40, memory.clone());
        let (exact_out, exact_state) = case.naive(&memory);
        assert_close(&whole.0, &exact_out, 3e-6);
        assert_close(&narrow(&whole.1.state(shape)), &exact_state, 3e-6);
        for isa in Isa::available() {
            assert_same(shape, &case.run_all(isa, part, memory.clone()), &whole);
        }
    }

    #[test]
    fn rows_taken_back_are_as_if_they_had_never_been(
        shape in shapes(), multiple in 0..3_usize, kept in 0..16_usize, more in 0..16_usize, seed: u64
    ) {
        let (case, other) = (Case::new(shape, 64, seed), Case::new(shape, 40, seed ^ 6));
        let kept = DELTA_CHUNK * multiple + kept;
        let mut never = Memory::new(shape, seed ^ 5);
        case.run(Isa::widest(), 0..kept, &mut never);
        let mut taken_back = never.clone();
        // Within the chunk, so that the state stays.
        case.run(Isa::widest(), kept..(kept + more).min(DELTA_CHUNK * (multiple + 1) - 1), &mut taken_back);
        taken_back.positions = kept;
        assert_same(
            shape,
            &other.run_all(Isa::widest(), 7, taken_back),
            &other.run_all(Isa::widest(), 40, never),
        );
    }
}

#[test]
fn threads_and_splits_change_nothing_in_the_published_shapes() {
    for (key_heads, value_heads) in [(2, 2), (2, 4)] {
        let shape = DeltaShape { key_heads, value_heads, key_head_dim: 128, value_head_dim: 128, tiled: false };
        let (case, memory) = (Case::new(shape, 129, 3), Memory::new(shape, 4));
        let whole = on_threads(1, || case.run_all(Isa::widest(), 129, memory.clone()));
        let (exact_out, exact_state) = case.naive(&memory);
        assert_close(&whole.0, &exact_out, 3e-6);
        assert_close(&narrow(&whole.1.state(shape)), &exact_state, 3e-6);
        for part in [1, 7, 15, 16, 17, 63, 64, 65, 127, 128, 129] {
            for threads in [1, 3] {
                let parts = on_threads(threads, || case.run_all(Isa::widest(), part, memory.clone()));
                assert_same(shape, &parts, &whole);
            }
        }
    }
}

/// Decays of nothing and of everything, from parameters no training would give.
#[test]
fn extreme_gates_leave_numbers() {
    let shape = DeltaShape { key_heads: 1, value_heads: 2, key_head_dim: 8, value_head_dim: 20, tiled: false };
    for rate in [0.0, -1e-38, -1e30, f32::NEG_INFINITY] {
        for a in [f32::NEG_INFINITY, -1e30, -200.0, 0.0, 200.0, 1e30, f32::INFINITY] {
            for b in [f32::NEG_INFINITY, 0.0, f32::INFINITY] {
                let mut case = Case::new(shape, 40, 1);
                case.decay_rate[1] = rate;
                for row in [3, 4, 17, 31] {
                    case.a[2 * row + 1] = a;
                    case.b[2 * row + 1] = b;
                }
                let whole = case.run_all(Isa::widest(), 40, Memory::new(shape, 2));
                assert!(whole.0.iter().chain(&whole.1.state).all(|x| x.is_finite()), "{rate} {a} {b}");
                assert_same(shape, &case.run_all(Isa::widest(), 1, Memory::new(shape, 2)), &whole);
            }
        }
    }
}

#[test]
fn a_row_that_is_not_a_number_is_not_hidden() {
    let shape = DeltaShape { key_heads: 1, value_heads: 1, key_head_dim: 8, value_head_dim: 8, tiled: false };
    let mut case = Case::new(shape, 20, 1);
    case.a[4] = f32::NAN;
    let (out, _) = case.run_all(Isa::widest(), 20, Memory::new(shape, 2));
    assert!(out[..4 * 8].iter().all(|x| x.is_finite()));
    assert!(out[4 * 8..].iter().all(|x| x.is_nan()));
}

#[test]
#[should_panic(expected = "9 rows after 7 change the state")]
fn a_state_to_be_kept_is_not_passed_over() {
    let shape = DeltaShape { key_heads: 1, value_heads: 1, key_head_dim: 4, value_head_dim: 4, tiled: false };
    let (case, mut memory) = (Case::new(shape, 16, 1), Memory::new(shape, 2));
    case.run(Isa::widest(), 0..7, &mut memory);
    let inputs = DeltaInputs {
        qkv: &case.qkv[7 * shape.qkv_dim()..],
        a: &case.a[7..],
        b: &case.b[7..],
        decay_rate: &case.decay_rate,
        dt_bias: &case.dt_bias,
    };
    let memory = DeltaMemory { since: 7, rows: &mut memory.rows, state: DeltaChunk::Kept(&memory.state) };
    delta_rule(Isa::widest(), shape, &inputs, memory, &mut [0.0; 9 * 4]);
}
