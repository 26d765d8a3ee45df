//! What families of attention in all layers have in common: fields at top level, and a handful of differences.

#![forbid(unsafe_code)]

use super::fields::{
    DIMENSION, LAYERS, POSITIONS, VOCABULARY, check_multiple, layer_types, refuse_nested, rms_norm_eps, rotation_seed,
};
use super::moe;
use super::rope::{self, Rope};
use super::unimplemented::{self, Setting};
use crate::checkpoint::config::{AttentionConfig, LayerType, Layout, ModelConfig, MoeConfig, NormWeight, Told};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Fields;

/// Where such families differ.
pub(super) struct Family {
    pub(super) model_type: &'static str,
    /// The classes of transformers whose files we read.
    pub(super) architectures: &'static [&'static str],
    /// The width of a head where no file says it; `None` is the stream's width, shared by the heads.
    pub(super) head_dim: Option<usize>,
    /// Whether queries and keys are normalised.
    pub(super) qk_norm: bool,
    /// Base of the rotary frequencies where no file says it.
    pub(super) rope_theta: Option<f64>,
    /// Whether layers may have experts.
    pub(super) has_experts: bool,
    /// Settings that it listens to, with the values that are implemented.
    pub(super) implemented: Vec<Setting>,
    /// Settings that it does not listen to, with the values that say nothing else.
    pub(super) ignored: Vec<Setting>,
}

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>, family: &Family) -> Result<Told, CheckpointError> {
    refuse_nested(root, family.model_type)?;
    unimplemented::refuse_architectures(root, family.architectures)?;
    unimplemented::refuse_settings(root, &family.implemented)?;
    if !family.has_experts {
        unimplemented::refuse_settings(root, &moe::none().collect::<Vec<_>>())?;
    }
    unimplemented::refuse_quantised(root)?;

    let vocab_size = root.required_integer("vocab_size", &VOCABULARY)?;
    let layers = root.required_integer("num_hidden_layers", &LAYERS)?;
    let full = [("full_attention", LayerType::FullAttention)];
    let hidden_size = root.required_integer("hidden_size", &DIMENSION)?;
    let max_position_embeddings = root.required_integer("max_position_embeddings", &POSITIONS)?;
    let moe = if family.has_experts { Some(experts(root, layers)?) } else { None };
    let has_mlp = moe.as_ref().is_none_or(|moe| moe.layers.contains(&false));
    let config = ModelConfig {
        layout: Layout::TextOnly,
        vocab_size,
        hidden_size,
        intermediate_size: if has_mlp { root.required_integer("intermediate_size", &DIMENSION)? } else { 0 },
        layer_types: layer_types(root, layers, &full)?.unwrap_or_else(|| vec![LayerType::FullAttention; layers]),
        rms_norm_eps: rms_norm_eps(root)?,
        norm_weight: NormWeight::Factor,
        tie_word_embeddings: root.flag("tie_word_embeddings")?.unwrap_or(false),
        max_position_embeddings,
        attention: attention(root, family, hidden_size, max_position_embeddings)?,
        delta_net: None,
        moe,
        mtp: false,
        eos_token_ids: root.token_ids("eos_token_id", vocab_size)?.unwrap_or_default(),
        rotation_seed: rotation_seed(root, root)?,
    };
    let mut warnings = unimplemented::without_effect(root, &family.ignored);
    warnings.extend(rope::without_effect(root, root, &config.attention.rope));
    Ok(Told { config, warnings })
}

fn experts(root: Fields<'_>, layers: usize) -> Result<MoeConfig, CheckpointError> {
    let moe = moe::read(root, moe::sparse_layers(root, layers)?)?;
    Ok(MoeConfig { norm_topk_prob: root.flag("norm_topk_prob")?.unwrap_or(false), ..moe })
}

fn attention(
    root: Fields<'_>,
    family: &Family,
    hidden_size: usize,
    max_position_embeddings: usize,
) -> Result<AttentionConfig, CheckpointError> {
    let num_heads = root.required_integer("num_attention_heads", &DIMENSION)?;
    let num_kv_heads = root.integer("num_key_value_heads", &DIMENSION)?.unwrap_or(num_heads);
    check_multiple(root, ("num_attention_heads", num_heads), ("num_key_value_heads", num_kv_heads))?;
    let head_dim = match root.integer("head_dim", &DIMENSION)?.or(family.head_dim) {
        Some(head_dim) => head_dim,
        None => {
            check_multiple(root, ("hidden_size", hidden_size), ("num_attention_heads", num_heads))?;
            hidden_size / num_heads
        }
    };
    let rope = Rope { head_dim, max_position_embeddings, theta: family.rope_theta, partial_rotary_factor: None };
    let rope = rope::read(root, &rope)?;
    Ok(AttentionConfig { num_heads, num_kv_heads, head_dim, output_gate: false, qk_norm: family.qk_norm, rope })
}
