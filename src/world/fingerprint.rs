//! Which model this is, whatever its directory is called: what was remembered of a sequence is worth nothing to another.

use std::fmt;

use bevy_ecs::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::checkpoint::{
    AttentionConfig, DeltaNetConfig, LayerType, ModelConfig, MoeConfig, NormWeight, RopeConfig, RopeScaling, Tensor,
};

/// On the model entity: a SHA-256 over its configuration and, of every tensor, the name, the type, the shape and a sample of the
/// bytes, 3 KiB at most. Models of the same weights have the same, whatever computes them; a model in four bits has another than
/// the one that it was made of. A head that predicts several tokens is no part of it.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[component(immutable)]
pub struct Fingerprint(pub [u8; 32]);

/// Its first eight digits, which tell it from others.
impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A fingerprint that is being taken, tensor by tensor.
#[derive(Clone)]
pub(crate) struct FingerprintOf(Sha256);

/// Bytes at the beginning of a tensor, in its middle and at its end.
const SAMPLE: usize = 1 << 10;

impl FingerprintOf {
    /// That of a model of this configuration.
    pub(crate) fn model(config: &ModelConfig) -> Self {
        Self(Sha256::new_with_prefix(canonical(config).to_string()))
    }

    /// Takes its next tensor, by its name in the text model.
    pub(crate) fn tensor(&mut self, name: &str, tensor: &Tensor) {
        self.0.update(format!("\0{name}\0{}{:?}\0", tensor.element(), tensor.shape()));
        let bytes = tensor.bytes();
        if bytes.len() <= 3 * SAMPLE {
            return self.0.update(bytes);
        }
        for start in [0, (bytes.len() - SAMPLE) / 2, bytes.len() - SAMPLE] {
            self.0.update(&bytes[start..start + SAMPLE]);
        }
    }

    /// The fingerprint.
    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// All that a configuration says of what is computed, in one order and one spelling.
fn canonical(config: &ModelConfig) -> Value {
    let ModelConfig {
        // How a file names its tensors changes nothing of what they are.
        layout: _,
        vocab_size,
        hidden_size,
        intermediate_size,
        layer_types,
        rms_norm_eps,
        norm_weight,
        tie_word_embeddings,
        max_position_embeddings,
        attention: AttentionConfig { num_heads, num_kv_heads, head_dim, output_gate, qk_norm, rope },
        delta_net,
        moe,
        eos_token_ids,
        rotation_seed,
        // The trunk says the same with and without a head that drafts for it.
        mtp: _,
    } = config;
    let RopeConfig { rotary_dim, theta, scaling } = rope;
    let net = delta_net.as_ref().map(|net| {
        let DeltaNetConfig {
            num_key_heads,
            num_value_heads,
            key_head_dim,
            value_head_dim,
            conv_kernel,
            tiled_value_heads: _,
        } = net;
        [num_key_heads, num_value_heads, key_head_dim, value_head_dim, conv_kernel]
    });
    let attends: Vec<bool> = layer_types.iter().map(|&layer| layer == LayerType::FullAttention).collect();
    let mut items = vec![
        json!([vocab_size, hidden_size, intermediate_size, max_position_embeddings]),
        json!(attends),
        json!([rms_norm_eps.to_bits()]),
        json!(tie_word_embeddings),
        json!([num_heads, num_kv_heads, head_dim, rotary_dim]),
        json!([theta.to_bits()]),
        json!(net),
        json!(eos_token_ids),
        json!(rotation_seed),
    ];
    // What all models had in common when the first of these were taken is not said.
    let shifted = *norm_weight == NormWeight::LessOne;
    if !(*output_gate && *qk_norm && shifted && *scaling == RopeScaling::Unscaled) {
        items.push(json!([output_gate, qk_norm, shifted, canonical_scaling(scaling)]));
    }
    if delta_net.as_ref().is_some_and(|net| net.tiled_value_heads) {
        items.push(json!("tiled value heads"));
    }
    if let Some(moe) = moe {
        let MoeConfig {
            num_experts,
            num_experts_per_tok,
            intermediate_size,
            shared_expert_intermediate_size: shared,
            norm_topk_prob,
            layers,
        } = moe;
        let sizes = [num_experts, num_experts_per_tok, intermediate_size];
        items.push(json!({ "experts": [sizes, shared, norm_topk_prob, layers] }));
    }
    Value::Array(items)
}

fn canonical_scaling(scaling: &RopeScaling) -> Value {
    match *scaling {
        RopeScaling::Unscaled => Value::Null,
        RopeScaling::Linear { factor } => json!(["linear", factor.to_bits()]),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
            let numbers = [factor, low_freq_factor, high_freq_factor].map(f64::to_bits);
            json!(["llama3", numbers, original_max_position_embeddings])
        }
        RopeScaling::Yarn {
            factor,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate,
            original_max_position_embeddings,
        } => {
            let numbers = [factor, attention_factor, beta_fast, beta_slow].map(f64::to_bits);
            json!(["yarn", numbers, truncate, original_max_position_embeddings])
        }
        RopeScaling::Divided(ref divisors) => {
            let bits: Vec<u32> = divisors.iter().map(|divisor| divisor.to_bits()).collect();
            json!(["divided", bits])
        }
    }
}
