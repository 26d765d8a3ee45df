//! Qwen3.5: dimensions that are known to fit together. What the forward pass does not implement is refused here, not
//! guessed at; fields that change nothing are ignored.

#![forbid(unsafe_code)]

use serde_json::json;

use super::fields::{
    DIMENSION, LAYERS, POSITIONS, VOCABULARY, check_multiple, layer_types as listed_layer_types, refuse_nested,
    rms_norm_eps, rotation_seed,
};
use super::moe;
use super::rope::{self, Rope};
use super::unimplemented;
use crate::checkpoint::config::{
    AttentionConfig, DeltaNetConfig, LayerType, Layout, ModelConfig, MoeConfig, NormWeight, Told,
};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// With a vision tower beside the text model.
pub(super) const MODEL_TYPE: &str = "qwen3_5";
pub(super) const TEXT_MODEL_TYPE: &str = "qwen3_5_text";
pub(super) const MOE_MODEL_TYPE: &str = "qwen3_5_moe";
pub(super) const MOE_TEXT_MODEL_TYPE: &str = "qwen3_5_moe_text";

/// No published file has this field: it is what a GGUF file's order comes to, where that cannot be put back.
pub(in crate::checkpoint) const TILED_VALUE_HEADS: &str = "tiled_value_heads";

/// How many layers the head has that predicts several tokens; none where this is not said. What a checkpoint holds counts.
pub(in crate::checkpoint) const MTP_LAYERS: &str = "mtp_num_hidden_layers";

/// Where its two kinds differ.
pub(super) struct Kind {
    text_model_type: &'static str,
    /// The whole model with its head, the text model with its head, and either as it is saved without.
    architectures: [&'static str; 4],
    has_experts: bool,
}

pub(super) const DENSE: Kind = Kind {
    text_model_type: TEXT_MODEL_TYPE,
    architectures: ["Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM", "Qwen3_5Model", "Qwen3_5TextModel"],
    has_experts: false,
};

/// All layers have experts, and one more that every token goes through.
pub(super) const MOE: Kind = Kind {
    text_model_type: MOE_TEXT_MODEL_TYPE,
    architectures: [
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeModel",
        "Qwen3_5MoeTextModel",
    ],
    has_experts: true,
};

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>, kind: &Kind) -> Result<Told, CheckpointError> {
    let layout = layout(root, kind)?;
    let fields = match layout {
        Layout::TextOnly => root,
        Layout::Multimodal => {
            root.object("text_config")?.ok_or_else(|| root.error("text_config", "the text model's fields"))?
        }
    };
    refuse(root, fields, kind)?;

    let vocab_size = fields.required_integer("vocab_size", &VOCABULARY)?;
    let eos = match fields.token_ids("eos_token_id", vocab_size)? {
        Some(ids) => Some(ids),
        None => root.token_ids("eos_token_id", vocab_size)?,
    };
    let tied = match root.flag("tie_word_embeddings")? {
        Some(tied) => tied,
        None => fields.flag("tie_word_embeddings")?.unwrap_or(false),
    };
    let max_position_embeddings = fields.required_integer("max_position_embeddings", &POSITIONS)?;
    let layer_types = layer_types(fields)?;
    let moe = if kind.has_experts { Some(experts(fields, layer_types.len())?) } else { None };
    let config = ModelConfig {
        layout,
        vocab_size,
        hidden_size: fields.required_integer("hidden_size", &DIMENSION)?,
        intermediate_size: if kind.has_experts {
            0
        } else {
            fields.required_integer("intermediate_size", &DIMENSION)?
        },
        layer_types,
        rms_norm_eps: rms_norm_eps(fields)?,
        norm_weight: NormWeight::LessOne,
        tie_word_embeddings: tied,
        max_position_embeddings,
        attention: attention(fields, max_position_embeddings)?,
        delta_net: Some(delta_net(fields)?),
        moe,
        // None has more than one layer; a head of several would not be read.
        mtp: fields.integer(MTP_LAYERS, &(0..=*LAYERS.end()))? == Some(1),
        eos_token_ids: eos.unwrap_or_default(),
        rotation_seed: rotation_seed(root, fields)?,
    };
    let mut warnings = unimplemented::without_effect(
        fields,
        &[
            ("use_sliding_window", vec![json!(false)]),
            ("mlp_bias", vec![json!(false)]),
            ("use_qk_norm", vec![json!(true)]),
            ("qk_norm", vec![json!(true)]),
        ],
    );
    warnings.extend(rope::without_effect(root, fields, &config.attention.rope));
    Ok(Told { config, warnings })
}

/// What a model of this family would compute otherwise than we do.
fn refuse(root: Fields<'_>, text: Fields<'_>, kind: &Kind) -> Result<(), CheckpointError> {
    unimplemented::refuse_architectures(root, &kind.architectures)?;
    let mut own = vec![("output_gate_type", unimplemented::silu()), ("attn_output_gate", vec![json!(true)])];
    if !kind.has_experts {
        own.extend(moe::none());
    }
    unimplemented::refuse_settings(text, &own)?;
    unimplemented::refuse_quantised(root)?;
    unimplemented::refuse_quantised(text)
}

fn layout(root: Fields<'_>, kind: &Kind) -> Result<Layout, CheckpointError> {
    let text_model_type = kind.text_model_type;
    if root.text("model_type")? == Some(text_model_type) {
        refuse_nested(root, text_model_type)?;
        return Ok(Layout::TextOnly);
    }
    let Some(fields) = root.object("text_config")? else { return Ok(Layout::Multimodal) };
    match fields.text("model_type")? {
        None => Ok(Layout::Multimodal),
        Some(found) if found == text_model_type => Ok(Layout::Multimodal),
        Some(_) => Err(fields.error("model_type", format!("{text_model_type:?}"))),
    }
}

fn layer_types(fields: Fields<'_>) -> Result<Vec<LayerType>, CheckpointError> {
    let count = fields.required_integer("num_hidden_layers", &LAYERS)?;
    let interval = fields.integer("full_attention_interval", &DIMENSION)?;
    let every = |interval: usize| -> Vec<LayerType> {
        let full = |layer: usize| (layer + 1).is_multiple_of(interval);
        (0..count)
            .map(|layer| if full(layer) { LayerType::FullAttention } else { LayerType::LinearAttention })
            .collect()
    };
    let known = [("linear_attention", LayerType::LinearAttention), ("full_attention", LayerType::FullAttention)];
    let Some(types) = listed_layer_types(fields, count, &known)? else {
        return Ok(every(interval.unwrap_or(4)));
    };
    if let Some(interval) = interval
        && let Some(layer) = every(interval).iter().zip(&types).position(|(expected, found)| expected != found)
    {
        let expected = format!("what full_attention_interval = {interval} says for layer {layer}");
        let names = fields.array("layer_types")?.unwrap_or_default();
        return Err(fields.error_found("layer_types", expected, describe(names.get(layer))));
    }
    Ok(types)
}

fn attention(fields: Fields<'_>, max_position_embeddings: usize) -> Result<AttentionConfig, CheckpointError> {
    let num_heads = fields.required_integer("num_attention_heads", &DIMENSION)?;
    let num_kv_heads = fields.required_integer("num_key_value_heads", &DIMENSION)?;
    let head_dim = fields.required_integer("head_dim", &DIMENSION)?;
    check_multiple(fields, ("num_attention_heads", num_heads), ("num_key_value_heads", num_kv_heads))?;
    let rope = Rope { head_dim, max_position_embeddings, theta: None, partial_rotary_factor: Some(0.25) };
    let rope = rope::read(fields, &rope)?;
    Ok(AttentionConfig { num_heads, num_kv_heads, head_dim, output_gate: true, qk_norm: true, rope })
}

fn experts(fields: Fields<'_>, layers: usize) -> Result<MoeConfig, CheckpointError> {
    let shared = fields.required_integer("shared_expert_intermediate_size", &DIMENSION)?;
    let moe = moe::read(fields, vec![true; layers])?;
    Ok(MoeConfig { shared_expert_intermediate_size: Some(shared), ..moe })
}

fn delta_net(fields: Fields<'_>) -> Result<DeltaNetConfig, CheckpointError> {
    let size = |field| fields.required_integer(field, &DIMENSION);
    let net = DeltaNetConfig {
        tiled_value_heads: fields.flag(TILED_VALUE_HEADS)?.unwrap_or(false),
        num_key_heads: size("linear_num_key_heads")?,
        num_value_heads: size("linear_num_value_heads")?,
        key_head_dim: size("linear_key_head_dim")?,
        value_head_dim: size("linear_value_head_dim")?,
        conv_kernel: size("linear_conv_kernel_dim")?,
    };
    let values = ("linear_num_value_heads", net.num_value_heads);
    check_multiple(fields, values, ("linear_num_key_heads", net.num_key_heads))?;
    Ok(net)
}
