//! The forward pass in double precision (transformers' models/qwen3_5, models/qwen3, models/llama, and those with experts), plainly: what a
//! conversion is checked by.
//! Weights are read piece by piece when they are needed, changed, and forgotten, so memory does not grow with the model.

mod attention;
mod delta_net;
mod feed_forward;
mod parts;
mod rows;
mod weights;

use std::ops::ControlFlow;

use parts::{Listed, listed};
use rows::Rows;
use weights::Weights;
pub(super) use weights::bytes;

use super::error::ConvertError;
use super::model::Model;
use super::progress::{ConvertProgress, Meter};
use crate::world::layer::LayerNorms;
use crate::world::model;
use crate::world::parts::{FeedForward, LayerParts, Mixer, ModelParts};

/// Which experts tokens go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Experts {
    /// Those that the router picks.
    #[cfg_attr(not(test), expect(dead_code, reason = "only held against transformers"))]
    Picked,
    /// All, so that a few tokens see every weight.
    All,
}

/// The logits after each token of a sequence, `[tokens, vocab_size]`.
pub(super) fn logits(
    model: &Model,
    tokens: &[u32],
    experts: Experts,
    meter: &Meter<impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
) -> Result<Rows, ConvertError> {
    let config = &model.config;
    let weights = Weights::of(model, meter);
    let eps = f64::from(config.rms_norm_eps);
    // Every part is taken by name, so that a new one cannot be forgotten here.
    // Logits do not depend on a head that drafts.
    let ModelParts { ends, layers, mtp: _ }: ModelParts<Listed> = listed(model);
    let model::Model { embed_tokens, norm, lm_head } = ends;
    let mut residual = weights.embed(embed_tokens, tokens)?;
    for (layer, LayerParts { norms, mixer, feed_forward }) in layers.iter().enumerate() {
        let LayerNorms { input_layernorm, post_attention_layernorm } = norms;
        let normed = residual.normed(&weights.norm(*input_layernorm)?, eps);
        residual.add(&match mixer {
            Mixer::DeltaNet(net) => delta_net::mix(&weights, config, net, &normed)?,
            Mixer::Attention(attention) => attention::mix(&weights, config, attention, &normed)?,
        });
        let normed = residual.normed(&weights.norm(*post_attention_layernorm)?, eps);
        residual.add(&match feed_forward {
            FeedForward::Mlp(mlp) => feed_forward::mlp(&weights, mlp, &normed)?,
            FeedForward::Moe(moe) => {
                let settings = config.experts_of(layer).expect("a layer with experts has settings of them");
                let picked = if experts == Experts::All { moe.experts.len() } else { settings.num_experts_per_tok };
                feed_forward::moe(&weights, picked, settings.norm_topk_prob, moe, &normed)?
            }
        });
    }
    let normed = residual.normed(&weights.norm(norm)?, eps);
    weights.product(lm_head.unwrap_or(embed_tokens), &normed)
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
