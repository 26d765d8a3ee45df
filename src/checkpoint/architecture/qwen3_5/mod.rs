//! Qwen3.5: dimensions that are known to fit together. What the forward pass does not implement is refused here, not
//! guessed at; fields that change nothing are ignored.

#![forbid(unsafe_code)]

mod rope;
mod unimplemented;

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::checkpoint::config::{AttentionConfig, DeltaNetConfig, LayerType, Layout, ModelConfig, Told};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// A hundred times the largest published dimension, and small enough that products of two and three cannot overflow.
const DIMENSION: RangeInclusive<usize> = 1..=1 << 20;
/// Token ids are 32 bits wide.
const VOCABULARY: RangeInclusive<usize> = 1..=1 << 31;
const LAYERS: RangeInclusive<usize> = 1..=4096;
const POSITIONS: RangeInclusive<usize> = 1..=1 << 31;

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>) -> Result<Told, CheckpointError> {
    let layout = layout(root)?;
    let fields = match layout {
        Layout::TextOnly => root,
        Layout::Multimodal => {
            root.object("text_config")?.ok_or_else(|| root.error("text_config", "the text model's fields"))?
        }
    };
    unimplemented::refuse(root, fields)?;

    let vocab_size = fields.required_integer("vocab_size", &VOCABULARY)?;
    let eos = match fields.token_ids("eos_token_id", vocab_size)? {
        Some(ids) => Some(ids),
        None => root.token_ids("eos_token_id", vocab_size)?,
    };
    let tied = match root.flag("tie_word_embeddings")? {
        Some(tied) => tied,
        None => fields.flag("tie_word_embeddings")?.unwrap_or(false),
    };
    let config = ModelConfig {
        layout,
        vocab_size,
        hidden_size: fields.required_integer("hidden_size", &DIMENSION)?,
        intermediate_size: fields.required_integer("intermediate_size", &DIMENSION)?,
        layer_types: layer_types(fields)?,
        rms_norm_eps: rms_norm_eps(fields)?,
        tie_word_embeddings: tied,
        max_position_embeddings: fields.required_integer("max_position_embeddings", &POSITIONS)?,
        attention: attention(fields)?,
        delta_net: delta_net(fields)?,
        eos_token_ids: eos.unwrap_or_default(),
        rotation_seed: rotation_seed(root, fields)?,
    };
    Ok(Told { config, warnings: unimplemented::without_effect(root, fields) })
}

fn layout(root: Fields<'_>) -> Result<Layout, CheckpointError> {
    let layout = match root.text("model_type")? {
        Some("qwen3_5") => Layout::Multimodal,
        Some("qwen3_5_text") => Layout::TextOnly,
        _ => return Err(root.error("model_type", "\"qwen3_5\" or \"qwen3_5_text\"")),
    };
    match (layout, root.object("text_config")?) {
        (Layout::TextOnly, Some(_)) => Err(root.error("text_config", "no such field where model_type is qwen3_5_text")),
        (Layout::Multimodal, Some(fields)) => match fields.text("model_type")? {
            None | Some("qwen3_5_text") => Ok(layout),
            Some(_) => Err(fields.error("model_type", "\"qwen3_5_text\"")),
        },
        _ => Ok(layout),
    }
}

/// The seed stands at top level and among the text model's fields, or in either place.
fn rotation_seed(root: Fields<'_>, text: Fields<'_>) -> Result<Option<u64>, CheckpointError> {
    const FIELD: &str = "quarot_rotation_seed";
    let seed = |fields: Fields<'_>| match fields.get(FIELD) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            None => Err(fields.error(FIELD, "an integer from 0 to 2^64 - 1")),
            seed => Ok(seed),
        },
    };
    let (outer, inner) = (seed(root)?, seed(text)?);
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => Err(text.error(FIELD, format!("{outer}, as at top level"))),
        _ => Ok(outer.or(inner)),
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
    let Some(names) = fields.array("layer_types")? else {
        return Ok(every(interval.unwrap_or(4)));
    };
    if names.len() != count {
        let expected = format!("as many as num_hidden_layers = {count}");
        return Err(fields.error_found("layer_types", expected, names.len().to_string()));
    }
    let parse = |name: &Value| match name.as_str() {
        Some("linear_attention") => Ok(LayerType::LinearAttention),
        Some("full_attention") => Ok(LayerType::FullAttention),
        _ => {
            let expected = "\"linear_attention\" or \"full_attention\"";
            Err(fields.error_found("layer_types", expected, describe(Some(name))))
        }
    };
    let types = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if let Some(interval) = interval
        && let Some(layer) = every(interval).iter().zip(&types).position(|(expected, found)| expected != found)
    {
        let expected = format!("what full_attention_interval = {interval} says for layer {layer}");
        return Err(fields.error_found("layer_types", expected, describe(names.get(layer))));
    }
    Ok(types)
}

fn rms_norm_eps(fields: Fields<'_>) -> Result<f32, CheckpointError> {
    #[expect(clippy::cast_possible_truncation, reason = "the sum it is added to is in single precision")]
    let single = |eps: f64| eps as f32;
    let expected = "a number above 0, finite in single precision";
    let eps = fields.number("rms_norm_eps", expected, |eps| single(eps) > 0.0 && single(eps).is_finite())?;
    eps.map(single).ok_or_else(|| fields.error("rms_norm_eps", expected))
}

fn attention(fields: Fields<'_>) -> Result<AttentionConfig, CheckpointError> {
    let num_heads = fields.required_integer("num_attention_heads", &DIMENSION)?;
    let num_kv_heads = fields.required_integer("num_key_value_heads", &DIMENSION)?;
    let head_dim = fields.required_integer("head_dim", &DIMENSION)?;
    check_multiple(fields, ("num_attention_heads", num_heads), ("num_key_value_heads", num_kv_heads))?;
    let rope = rope::read(fields, head_dim)?;
    Ok(AttentionConfig { num_heads, num_kv_heads, head_dim, rotary_dim: rope.rotary_dim, rope_theta: rope.theta })
}

fn delta_net(fields: Fields<'_>) -> Result<DeltaNetConfig, CheckpointError> {
    let size = |field| fields.required_integer(field, &DIMENSION);
    let net = DeltaNetConfig {
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

fn check_multiple(
    fields: Fields<'_>,
    (field, value): (&str, usize),
    (divisor, by): (&str, usize),
) -> Result<(), CheckpointError> {
    if value.is_multiple_of(by) {
        return Ok(());
    }
    Err(fields.error(field, format!("a multiple of {divisor} = {by}")))
}
