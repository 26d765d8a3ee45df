//! Gated attention (`Qwen3_5Attention`).

use std::ops::ControlFlow;

use super::parts::Listed;
use super::rows::{Rows, norm};
use super::weights::Weights;
use super::{dot, sigmoid};
use crate::checkpoint::{AttentionConfig, ModelConfig};
use crate::convert::error::ConvertError;
use crate::convert::progress::ConvertProgress;
use crate::world::attention::Attention;

/// What the attention layer adds to the residual stream, `[tokens, hidden_size]`.
pub(super) fn mix(
    weights: &Weights<'_, impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
    config: &ModelConfig,
    weights_of: &Attention<Listed>,
    x: &Rows,
) -> Result<Rows, ConvertError> {
    let Attention { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm } = weights_of;
    let attention = &config.attention;
    let (dim, eps) = (attention.head_dim, f64::from(config.rms_norm_eps));
    // Query and gate of each head side by side.
    let queries = weights.product(*q_proj, x)?;
    let mut keys = weights.product(*k_proj, x)?;
    let values = weights.product(*v_proj, x)?;
    let (q_norm, k_norm) = (weights.vector(*q_norm)?, weights.vector(*k_norm)?);
    let place = |head: &mut [f64], weight: &[f64], position: usize| {
        norm(head, weight.iter().map(|weight| 1.0 + weight), eps);
        rotate(head, attention, position);
    };
    for (position, keys) in keys.iter_mut().enumerate() {
        keys.chunks_exact_mut(dim).for_each(|key| place(key, &k_norm, position));
    }
    let mut read = Rows::zeros(x.len(), attention.num_heads * dim);
    for (position, read) in read.iter_mut().enumerate() {
        let heads = read.chunks_exact_mut(dim).zip(queries.row(position).chunks_exact(2 * dim));
        for (head, (read, query_and_gate)) in heads.enumerate() {
            let (query, gate) = query_and_gate.split_at(dim);
            let mut query = query.to_vec();
            place(&mut query, &q_norm, position);
            let kv_head = head / (attention.num_heads / attention.num_kv_heads);
            let of_head = |rows: &[f64]| rows[kv_head * dim..][..dim].to_vec();
            attend(&query, (0..=position).map(|at| (of_head(keys.row(at)), of_head(values.row(at)))), read);
            read.iter_mut().zip(gate).for_each(|(read, gate)| *read *= sigmoid(*gate));
        }
    }
    weights.product(*o_proj, &read)
}

/// The mean of all values, each by how well its key answers the query.
fn attend(query: &[f64], past: impl Iterator<Item = (Vec<f64>, Vec<f64>)>, read: &mut [f64]) {
    let (keys, values): (Vec<_>, Vec<_>) = past.unzip();
    let root = (query.len() as f64).sqrt();
    let scores: Vec<f64> = keys.iter().map(|key| dot(query, key) / root).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let total: f64 = shares.iter().sum();
    for (share, value) in shares.iter().zip(&values) {
        read.iter_mut().zip(value).for_each(|(read, value)| *read += share / total * value);
    }
}

/// Rotary positions: element `i` turns with element `i + rotary_dim / 2`.
fn rotate(head: &mut [f64], attention: &AttentionConfig, position: usize) {
    let half = attention.rotary_dim / 2;
    for i in 0..half {
        let frequency = attention.rope_theta.powf(-2.0 * i as f64 / attention.rotary_dim as f64);
        let (sin, cos) = (position as f64 * frequency).sin_cos();
        let (x, y) = (head[i], head[i + half]);
        (head[i], head[i + half]) = (x * cos - y * sin, y * cos + x * sin);
    }
}
