//! Steps 1 and 2: the numbers that each token has for each head, made once for all blocks of columns.

use super::{DeltaInputs, DeltaShape};
use crate::cpu::kernels::Isa;
use crate::cpu::kernels::exp::{exp, sigmoid, softplus};
use crate::cpu::kernels::simd::per_isa;
use crate::cpu::kernels::split;

/// What one token brings to one value head besides its vectors.
#[derive(Clone, Copy, Default)]
pub(super) struct Scalars {
    /// What makes the query a unit vector over `sqrt(key_head_dim)`.
    pub q: f32,
    /// What makes the key a unit vector.
    pub k: f32,
    pub decay: f32,
    pub beta: f32,
}

/// The numbers of all tokens: `[rows, value_heads]`.
pub(super) fn scalars(isa: Isa, shape: DeltaShape, inputs: &DeltaInputs<'_>) -> Vec<Scalars> {
    let mut all = vec![Scalars::default(); inputs.a.len()];
    split::costly_rows(&mut all, shape.value_heads, 2 * shape.key_head_dim, |first, part| {
        read_rows(isa, shape, inputs, first, part);
    });
    all
}

per_isa! {
    fn read_rows(simd, shape: DeltaShape, inputs: &DeltaInputs<'_>, first: usize, rows: &mut [Scalars]) {
        let root = (shape.key_head_dim as f32).sqrt();
        for (i, to) in rows.iter_mut().enumerate() {
            let (row, head) = (first + i / shape.value_heads, i % shape.value_heads);
            let (q, k) = inputs.query_and_key(shape, row, head);
            let index = row * shape.value_heads + head;
            *to = Scalars {
                q: 1.0 / (simd.sum_of_squares(q) + 1e-6).sqrt() / root,
                k: 1.0 / (simd.sum_of_squares(k) + 1e-6).sqrt(),
                decay: exp(inputs.decay_rate[head] * softplus(inputs.a[index] + inputs.dt_bias[head])),
                beta: sigmoid(inputs.b[index]),
            };
        }
    }
}
