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
    state: Vec<f32>,
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
            state: noise(seed ^ 5, shape.state_len()),
        }
    }

    /// The outputs and the state after running the rows in calls of `part` rows.
    fn run(&self, isa: Isa, part: usize) -> (Vec<f32>, Vec<f32>) {
        let (shape, mut state) = (self.shape, self.state.clone());
        let rows = self.a.len() / shape.value_heads;
        let mut out = vec![0.0; rows * shape.value_dim()];
        for (i, out) in out.chunks_mut(part * shape.value_dim()).enumerate() {
            let range = |width: usize| i * part * width..((i + 1) * part).min(rows) * width;
            let inputs = DeltaInputs {
                qkv: &self.qkv[range(shape.qkv_dim())],
                a: &self.a[range(shape.value_heads)],
                b: &self.b[range(shape.value_heads)],
                decay_rate: &self.decay_rate,
                dt_bias: &self.dt_bias,
            };
            delta_rule(isa, shape, &inputs, &mut state, out);
        }
        (out, state)
    }

    /// The definition in f64.
    fn naive(&self) -> (Vec<f64>, Vec<f64>) {
        let shape = self.shape;
        let (dk, dv) = (shape.key_head_dim, shape.value_head_dim);
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let mut state = wide(&self.state);
        let mut out = Vec::new();
        for (row, qkv) in self.qkv.chunks(shape.qkv_dim()).enumerate() {
            for head in 0..shape.value_heads {
                let key_head = head / (shape.value_heads / shape.key_heads);
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

fn shapes() -> impl Strategy<Value = DeltaShape> {
    (1..4_usize, 1..4_usize, 1..40_usize, 1..90_usize).prop_map(|(key_heads, group, dk, dv)| DeltaShape {
        key_heads,
        value_heads: key_heads * group,
        key_head_dim: dk,
        value_head_dim: dv,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn agrees_with_f64_on_every_isa_and_split(shape in shapes(), rows in 0..9_usize, part in 1..8_usize, seed: u64) {
        let case = Case::new(shape, rows, seed);
        let (out, state) = case.run(Isa::SCALAR, 9);
        let (exact_out, exact_state) = case.naive();
        assert_close(&out, &exact_out, 3e-6);
        assert_close(&state, &exact_state, 3e-6);
        for isa in Isa::available() {
            let (part_out, part_state) = case.run(isa, part);
            assert_same_bits(&part_out, &out);
            assert_same_bits(&part_state, &state);
        }
    }
}

#[test]
fn threads_and_splits_change_nothing_in_the_published_shape() {
    let shape = DeltaShape { key_heads: 2, value_heads: 4, key_head_dim: 128, value_head_dim: 128 };
    let case = Case::new(shape, 40, 3);
    let (out, state) = on_threads(1, || case.run(Isa::widest(), 40));
    let (exact_out, exact_state) = case.naive();
    assert_close(&out, &exact_out, 3e-6);
    assert_close(&state, &exact_state, 3e-6);
    for part in [40, 7, 1] {
        let (part_out, part_state) = on_threads(3, || case.run(Isa::widest(), part));
        assert_same_bits(&part_out, &out);
        assert_same_bits(&part_state, &state);
    }
}
