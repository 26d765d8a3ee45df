//! Steps 1 and 2: the numbers that each row has for each head, made once for all blocks of columns.

use super::shape::{DeltaInputs, DeltaShape};
use crate::cpu::kernels::Isa;
use crate::cpu::kernels::exp::{exp, sigmoid, softplus};
use crate::cpu::kernels::simd::per_isa;
use crate::cpu::kernels::split;

/// What a gate costs, in elements of an elementwise kernel: two exponentials and a logarithm.
const GATE_COST: usize = 40;

/// The numbers of all rows of a call.
pub(super) struct Scalars {
    /// `[rows, key_heads]`
    pub scales: Vec<Scales>,
    /// `[rows, value_heads]`
    pub gates: Vec<Gates>,
}

/// What makes unit vectors of a row's query and key.
#[derive(Clone, Copy, Default)]
pub(super) struct Scales {
    /// For a unit vector over `sqrt(key_head_dim)`.
    pub query: f32,
    pub key: f32,
}

/// What a row does to a value head.
#[derive(Clone, Copy, Default)]
pub(super) struct Gates {
    /// What is left of the state.
    pub decay: f32,
    /// How much of the error is corrected.
    pub beta: f32,
}

impl Scalars {
    pub(super) fn new(isa: Isa, shape: DeltaShape, inputs: &DeltaInputs<'_>) -> Self {
        let rows = inputs.a.len() / shape.value_heads;
        let mut scales = vec![Scales::default(); rows * shape.key_heads];
        split::costly_rows(&mut scales, shape.key_heads, 2 * shape.key_head_dim, |first, part| {
            scale_rows(isa, shape, inputs, first, part);
        });
        let mut gates = vec![Gates::default(); inputs.a.len()];
        split::costly_rows(&mut gates, shape.value_heads, GATE_COST, |first, part| {
            gate_rows(shape, inputs, first, part);
        });
        Self { scales, gates }
    }
}

per_isa! {
    fn scale_rows(simd, shape: DeltaShape, inputs: &DeltaInputs<'_>, first: usize, rows: &mut [Scales]) {
        let root = (shape.key_head_dim as f32).sqrt();
        for (i, to) in rows.iter_mut().enumerate() {
            let (query, key) = inputs.query_and_key(shape, first + i / shape.key_heads, i % shape.key_heads);
            *to = Scales {
                query: 1.0 / (simd.sum_of_squares(query) + 1e-6).sqrt() / root,
                key: 1.0 / (simd.sum_of_squares(key) + 1e-6).sqrt(),
            };
        }
    }
}

fn gate_rows(shape: DeltaShape, inputs: &DeltaInputs<'_>, first: usize, rows: &mut [Gates]) {
    let start = first * shape.value_heads;
    let (a, b) = (&inputs.a[start..], &inputs.b[start..]);
    for (i, to) in rows.iter_mut().enumerate() {
        let head = i % shape.value_heads;
        // An infinite rate times nothing would be no number, and neither would be all that is remembered from then on.
        // What is none already stays so: clamping keeps it.
        let rate = inputs.decay_rate[head].clamp(-f32::MAX, 0.0);
        let time = softplus(a[i] + inputs.dt_bias[head]).clamp(0.0, f32::MAX);
        *to = Gates { decay: exp(rate * time), beta: sigmoid(b[i]) };
    }
}
