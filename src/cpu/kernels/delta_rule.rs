//! The gated delta rule (Yang, Kautz and Hatamizadeh, "Gated Delta Networks", 2024; the recurrent form of
//! transformers' models/qwen3_5), token by token. Every value head has a state `S` `[key_head_dim, value_head_dim]`.
//!
//! 1. `k = k / sqrt(sum k^2 + 1e-6)`, the same for `q`, and `q = q / sqrt(key_head_dim)`.
//! 2. `decay = exp(-exp(A_log) * softplus(a + dt_bias))` and `beta = sigmoid(b)`.
//! 3. `S = S * decay`.
//! 4. `delta = (v - k S) * beta`.
//! 5. `S = S + k^T delta`.
//! 6. `out = q S`.
//!
//! Columns of `S` do not depend on each other, so that a block of columns is worked on through all tokens while it
//! stays in the nearest cache. Each token passes over the block once: steps 5 and 6, then 3 and the product of 4 for
//! the token after it. The first pass copies the block out of the state and the last one back into it. A single token
//! takes two passes as well, both in place. Sums run over the rows in order; all passes round alike, wherever calls
//! begin and end.

mod block;
mod scalars;
#[cfg(test)]
mod tests;

use self::block::{Block, COLUMNS, run_block};
use self::scalars::scalars;
use super::isa::Isa;
use super::split::{self, Disjoint};
use crate::tally;

/// The elements of state times tokens from which another thread pays.
const LEAST_ELEMENTS: usize = 64 * 1024;

/// The heads of one layer. Consecutive value heads share a key head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaShape {
    /// Heads of queries and of keys.
    pub key_heads: usize,
    /// Heads of values, each key head being shared by as many of them.
    pub value_heads: usize,
    /// Elements of a query or key.
    pub key_head_dim: usize,
    /// Elements of a value.
    pub value_head_dim: usize,
}

impl DeltaShape {
    /// The elements of all queries of a row, and of all keys.
    #[must_use]
    pub fn key_dim(&self) -> usize {
        self.key_heads * self.key_head_dim
    }

    /// The elements of all values of a row.
    #[must_use]
    pub fn value_dim(&self) -> usize {
        self.value_heads * self.value_head_dim
    }

    /// The elements of the state of one sequence.
    #[must_use]
    pub fn state_len(&self) -> usize {
        self.key_head_dim * self.value_dim()
    }

    /// The elements of a row of queries, keys and values.
    #[must_use]
    pub fn qkv_dim(&self) -> usize {
        2 * self.key_dim() + self.value_dim()
    }
}

/// What one layer computed for some rows, and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct DeltaInputs<'a> {
    /// Queries, keys and values after the convolution: `[rows, 2 * key_dim + value_dim]`.
    pub qkv: &'a [f32],
    /// What the decay depends on: `[rows, value_heads]`.
    pub a: &'a [f32],
    /// What the learning rate depends on: `[rows, value_heads]`.
    pub b: &'a [f32],
    /// `-exp(A_log)`: `[value_heads]`.
    pub decay_rate: &'a [f32],
    /// `[value_heads]`.
    pub dt_bias: &'a [f32],
}

impl DeltaInputs<'_> {
    /// The query and the key of row `row` for value head `head`.
    #[inline(always)]
    fn query_and_key(&self, shape: DeltaShape, row: usize, head: usize) -> (&[f32], &[f32]) {
        let n = shape.key_head_dim;
        let key_head = head / (shape.value_heads / shape.key_heads);
        let heads = &self.qkv[row * shape.qkv_dim() + key_head * n..];
        (&heads[..n], &heads[shape.key_dim()..][..n])
    }
}

/// Runs the rule over the rows of `inputs`. `state` `[value_heads, key_head_dim, value_head_dim]`, zeros at the start
/// of a sequence, is advanced past them; `out` is `[rows, value_heads, value_head_dim]`.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn delta_rule(isa: Isa, shape: DeltaShape, inputs: &DeltaInputs<'_>, state: &mut [f32], out: &mut [f32]) {
    check(shape, inputs, state, out);
    let rows = out.len() / shape.value_dim();
    if rows == 0 {
        return;
    }
    tally::add(
        (inputs.qkv.len() + inputs.a.len() + inputs.b.len() + 2 * state.len() + out.len()) * size_of::<f32>(),
        7 * rows * state.len(),
    );
    let scalars = scalars(isa, shape, inputs);
    let per_head = shape.value_head_dim.div_ceil(COLUMNS);
    let blocks = shape.value_heads * per_head;
    let alone = rows * state.len() < LEAST_ELEMENTS;
    let (state, out) = (Disjoint::new(state), Disjoint::new(out));
    let run = |index: usize| {
        let (head, start) = (index / per_head, index % per_head * COLUMNS);
        let columns = start..shape.value_head_dim.min(start + COLUMNS);
        // SAFETY: each index is run once, and no two have columns of the same head in common.
        let block = unsafe { Block::new(shape, head, columns, &state, &out) };
        run_block(isa, inputs, &scalars, block);
    };
    if alone {
        (0..blocks).for_each(run);
    } else {
        split::each(blocks, run);
    }
}

fn check(shape: DeltaShape, inputs: &DeltaInputs<'_>, state: &[f32], out: &[f32]) {
    assert!(shape.key_heads > 0 && shape.key_head_dim > 0 && shape.value_dim() > 0, "{shape:?}");
    assert!(shape.value_heads.is_multiple_of(shape.key_heads), "{shape:?}");
    assert!(out.len().is_multiple_of(shape.value_dim()), "whole rows of {shape:?}");
    let rows = out.len() / shape.value_dim();
    assert_eq!(inputs.qkv.len(), rows * shape.qkv_dim(), "queries, keys and values of {rows} rows");
    assert_eq!(inputs.a.len(), rows * shape.value_heads, "decays of {rows} rows");
    assert_eq!(inputs.b.len(), rows * shape.value_heads, "learning rates of {rows} rows");
    assert_eq!(inputs.decay_rate.len(), shape.value_heads, "a decay rate for each value head");
    assert_eq!(inputs.dt_bias.len(), shape.value_heads, "a bias for each value head");
    assert_eq!(state.len(), shape.state_len(), "the state of {shape:?}");
}
