//! Qwen3.5's forward pass in double precision (transformers' models/qwen3_5), plainly: what a conversion is checked by.
//! Weights are read piece by piece when they are needed, changed, and forgotten, so memory does not grow with the model.

mod attention;
mod delta_net;
mod rows;
mod weights;

use std::ops::ControlFlow;

use rows::Rows;
use weights::Weights;
pub(super) use weights::bytes;

use super::error::ConvertError;
use super::model::Model;
use super::progress::{ConvertProgress, Meter};
use crate::checkpoint::LayerType;

/// The logits after each token of a sequence, `[tokens, vocab_size]`.
pub(super) fn logits(
    model: &Model,
    tokens: &[u32],
    meter: &Meter<impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
) -> Result<Rows, ConvertError> {
    let config = &model.config;
    let weights = Weights::of(model, meter);
    let eps = f64::from(config.rms_norm_eps);
    let mut residual = weights.embed(tokens)?;
    for (index, layer_type) in config.layer_types.iter().enumerate() {
        let layer = format!("layers.{index}");
        let normed = residual.normed(&weights.vector(&format!("{layer}.input_layernorm.weight"))?, eps);
        residual.add(&match layer_type {
            LayerType::LinearAttention => delta_net::mix(&weights, config, &layer, &normed)?,
            LayerType::FullAttention => attention::mix(&weights, config, &layer, &normed)?,
        });
        let normed = residual.normed(&weights.vector(&format!("{layer}.post_attention_layernorm.weight"))?, eps);
        let mut gate = weights.product(&format!("{layer}.mlp.gate_proj.weight"), &normed)?;
        let up = weights.product(&format!("{layer}.mlp.up_proj.weight"), &normed)?;
        gate.values.iter_mut().zip(&up.values).for_each(|(gate, up)| *gate = silu(*gate) * up);
        residual.add(&weights.product(&format!("{layer}.mlp.down_proj.weight"), &gate)?);
    }
    let normed = residual.normed(&weights.vector("norm.weight")?, eps);
    let head = if config.tie_word_embeddings { "embed_tokens.weight" } else { "lm_head.weight" };
    weights.product(head, &normed)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    /// So that additions need not wait for one another.
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests;
