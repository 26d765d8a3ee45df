//! Attention (`Qwen3_5Attention`, `Qwen3Attention`, `LlamaAttention`).

use std::ops::ControlFlow;

use super::parts::Listed;
use super::rows::{Rows, norm};
use super::weights::Weights;
use super::{dot, sigmoid};
use crate::checkpoint::{ModelConfig, RopeFrequencies};
use crate::convert::error::ConvertError;
use crate::convert::progress::ConvertProgress;
use crate::world::attention::{Attention, QkNorm};

/// What the attention layer adds to the residual stream, `[tokens, hidden_size]`.
pub(super) fn mix(
    weights: &Weights<'_, impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
    config: &ModelConfig,
    weights_of: &Attention<Listed>,
    x: &Rows,
) -> Result<Rows, ConvertError> {
    let Attention { q_proj, k_proj, v_proj, o_proj, qk_norm } = weights_of;
    let attention = &config.attention;
    let (dim, eps) = (attention.head_dim, f64::from(config.rms_norm_eps));
    // Where there are gates, query and gate of each head side by side.
    let queries = weights.product(*q_proj, x)?;
    let mut keys = weights.product(*k_proj, x)?;
    let values = weights.product(*v_proj, x)?;
    let norms = match qk_norm {
        Some(QkNorm { q_norm, k_norm }) => Some((weights.norm(*q_norm)?, weights.norm(*k_norm)?)),
        None => None,
    };
    let (q_norm, k_norm) = norms.unzip();
    let frequencies = attention.rope.frequencies();
    let place = |head: &mut [f64], weight: &Option<Vec<f64>>, position: usize| {
        if let Some(weight) = weight {
            norm(head, weight, eps);
        }
        rotate(head, &frequencies, position);
    };
    for (position, keys) in keys.iter_mut().enumerate() {
        keys.chunks_exact_mut(dim).for_each(|key| place(key, &k_norm, position));
    }
    let mut read = Rows::zeros(x.len(), attention.query_dim());
    for (position, read) in read.iter_mut().enumerate() {
        let projected = queries.row(position).chunks_exact(queries.width / attention.num_heads);
        for (head, (read, query_and_gate)) in read.chunks_exact_mut(dim).zip(projected).enumerate() {
            let (query, gate) = query_and_gate.split_at(dim);
            let mut query = query.to_vec();
            place(&mut query, &q_norm, position);
            let kv_head = head / (attention.num_heads / attention.num_kv_heads);
            let of_head = |rows: &[f64]| rows[kv_head * dim..][..dim].to_vec();
            attend(&query, (0..=position).map(|at| (of_head(keys.row(at)), of_head(values.row(at)))), read);
            // No gate is an empty one.
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
fn rotate(head: &mut [f64], frequencies: &RopeFrequencies, position: usize) {
    let (half, factor) = (frequencies.inverse.len(), f64::from(frequencies.attention_factor));
    for (i, &frequency) in frequencies.inverse.iter().enumerate() {
        let (sin, cos) = (position as f64 * f64::from(frequency)).sin_cos();
        let (sin, cos) = (sin * factor, cos * factor);
        let (x, y) = (head[i], head[i + half]);
        (head[i], head[i + half]) = (x * cos - y * sin, y * cos + x * sin);
    }
}
