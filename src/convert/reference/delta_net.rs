//! The gated delta net (`Qwen3_5GatedDeltaNet`), token after token.

use std::ops::ControlFlow;

use super::parts::Listed;
use super::rows::{Rows, norm};
use super::weights::Weights;
use super::{dot, sigmoid, silu};
use crate::checkpoint::ModelConfig;
use crate::convert::error::ConvertError;
use crate::convert::progress::ConvertProgress;
use crate::world::delta_net::DeltaNet;

/// What the linear-attention layer adds to the residual stream, `[tokens, hidden_size]`.
pub(super) fn mix(
    weights: &Weights<'_, impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
    config: &ModelConfig,
    weights_of: &DeltaNet<Listed>,
    x: &Rows,
) -> Result<Rows, ConvertError> {
    let DeltaNet { in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, conv1d, a_log, dt_bias, norm: head_norm, out_proj } =
        weights_of;
    let net = config.linear_attention();
    let qkv = weights.product(*in_proj_qkv, x)?;
    let z = weights.product(*in_proj_z, x)?;
    let b = weights.product(*in_proj_b, x)?;
    let a = weights.product(*in_proj_a, x)?;
    let qkv = convolved(&qkv, &weights.vector(*conv1d)?);
    let (a_log, dt_bias) = (weights.vector(*a_log)?, weights.vector(*dt_bias)?);
    let norm_weight = weights.norm(*head_norm)?;

    let (key_dim, value_dim) = (net.key_head_dim, net.value_head_dim);
    let mut read = Rows::zeros(x.len(), net.value_dim());
    for head in 0..net.num_value_heads {
        let key_head = head / (net.num_value_heads / net.num_key_heads);
        let mut state = Rows::zeros(key_dim, value_dim);
        for (token, row) in qkv.iter().enumerate() {
            let query = unit(&row[key_head * key_dim..][..key_dim]);
            let key = unit(&row[net.key_dim() + key_head * key_dim..][..key_dim]);
            let value = &row[2 * net.key_dim() + head * value_dim..][..value_dim];
            let decay = (-a_log[head].exp() * softplus(a.row(token)[head] + dt_bias[head])).exp();
            state.values.iter_mut().for_each(|value| *value *= decay);
            let beta = sigmoid(b.row(token)[head]);
            let known = recall(&state, &key);
            for (state, key) in state.iter_mut().zip(&key) {
                for ((state, value), known) in state.iter_mut().zip(value).zip(&known) {
                    *state += key * beta * (value - known);
                }
            }
            let mut out = recall(&state, &query);
            out.iter_mut().for_each(|out| *out /= (key_dim as f64).sqrt());
            norm(&mut out, &norm_weight, f64::from(config.rms_norm_eps));
            let range = head * value_dim..(head + 1) * value_dim;
            let gates = &z.row(token)[range.clone()];
            let to = &mut read.values[token * net.value_dim()..][range];
            to.iter_mut().zip(out).zip(gates).for_each(|((to, out), gate)| *to = out * silu(*gate));
        }
    }
    weights.product(*out_proj, &read)
}

/// Each channel with its own taps, `[channels, 1, taps]`, the oldest first, over what came before.
fn convolved(x: &Rows, taps: &[f64]) -> Rows {
    let count = taps.len() / x.width;
    let mut out = Rows::zeros(x.len(), x.width);
    for (token, out) in out.iter_mut().enumerate() {
        for (channel, (out, taps)) in out.iter_mut().zip(taps.chunks_exact(count)).enumerate() {
            let past = taps.iter().rev().zip(x.values[..(token + 1) * x.width].chunks_exact(x.width).rev());
            *out = silu(past.map(|(tap, row)| tap * row[channel]).sum());
        }
    }
    out
}

/// `key · state`, `[value_head_dim]`.
fn recall(state: &Rows, key: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; state.width];
    for (state, key) in state.iter().zip(key) {
        out.iter_mut().zip(state).for_each(|(out, state)| *out += key * state);
    }
    out
}

fn unit(vector: &[f64]) -> Vec<f64> {
    let inverse = 1.0 / (dot(vector, vector) + 1e-6).sqrt();
    vector.iter().map(|value| value * inverse).collect()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
