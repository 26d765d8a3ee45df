//! What a file says of a model, as the `config.json` that its makers would have published with it. That one reader
//! knows what is implemented.

use serde_json::{Map, Value, json};

use super::family::Family;
use super::keys::{Keys, refuse_unimplemented};
use super::rope;
use super::tensors::Info;
use crate::checkpoint::architecture::{MTP_LAYERS, TILED_VALUE_HEADS};
use crate::checkpoint::error::CheckpointError;

/// A configuration's text.
pub(super) fn text(
    keys: Keys<'_>,
    infos: &[Info],
    end_tokens: &[u32],
    is_tiled: bool,
) -> Result<String, CheckpointError> {
    refuse_unimplemented(keys)?;
    let mut config = Map::new();
    let mut set = |field: &str, value: Value| _ = config.insert(field.to_owned(), value);
    let info = |name: &str| infos.iter().find(|info| info.name == name);
    let vocabulary = match info("token_embd.weight").and_then(|embedding| embedding.shape.first()) {
        Some(&rows) => rows,
        None => keys.metadata.texts(super::tokenizer::TOKENS)?.map_or(0, |tokens| tokens.len()),
    };
    let layers = keys.layers()?;
    let hidden = keys.required("embedding_length")?;
    let heads = keys.of_all_layers("attention.head_count")?;
    let heads = heads.ok_or_else(|| keys.error("attention.head_count", "an integer from 0 on"))?;
    let head_dim = head_dim(keys, hidden, heads)?;
    let eps = keys.float("attention.layer_norm_rms_epsilon")?;
    let eps = eps.ok_or_else(|| keys.error("attention.layer_norm_rms_epsilon", "a number above 0"))?;
    set("model_type", keys.family.model_type().into());
    set("vocab_size", vocabulary.into());
    set("hidden_size", hidden.into());
    set("intermediate_size", keys.of_all_layers("feed_forward_length")?.into());
    set("num_hidden_layers", layers.into());
    set("num_attention_heads", heads.into());
    set("num_key_value_heads", keys.of_all_layers("attention.head_count_kv")?.unwrap_or(heads).into());
    set("head_dim", head_dim.into());
    set("hidden_act", "silu".into());
    set("attention_bias", false.into());
    set("rms_norm_eps", json!(eps));
    set("max_position_embeddings", keys.required("context_length")?.into());
    set("tie_word_embeddings", info("output.weight").is_none().into());
    set("rope_parameters", rope::parameters(keys, infos, head_dim)?);
    if keys.family.has_delta_nets() {
        set("layer_types", layer_types(keys, layers)?);
        delta_net(keys, &mut set)?;
        if keys.heads()? > 0 {
            set(MTP_LAYERS, keys.heads()?.into());
        }
        if is_tiled {
            set(TILED_VALUE_HEADS, true.into());
        }
    }
    if keys.family.has_experts() {
        experts(keys, set)?;
    }
    if !end_tokens.is_empty() {
        config.insert("eos_token_id".to_owned(), end_tokens.into());
    }
    let mut text = format!("{:#}", Value::Object(config));
    text.push('\n');
    Ok(text)
}

/// The width of heads, which keys and values share with each other.
fn head_dim(keys: Keys<'_>, hidden: u64, heads: u64) -> Result<u64, CheckpointError> {
    let width = match keys.integer("attention.key_length")? {
        Some(width) => width,
        None => hidden.checked_div(heads).filter(|width| width * heads == hidden).ok_or_else(|| {
            keys.error("attention.key_length", format!("a width, which {hidden} divided by {heads} heads is not"))
        })?,
    };
    match keys.integer("attention.value_length")? {
        Some(values) if values != width => {
            Err(keys.error("attention.value_length", format!("{width}, as keys have (nothing else is implemented)")))
        }
        _ => Ok(width),
    }
}

/// Which layers have attention and which a delta net.
fn layer_types(keys: Keys<'_>, layers: u64) -> Result<Value, CheckpointError> {
    const RECURRENT: &str = "attention.recurrent_layers";
    const INTERVAL: &str = "full_attention_interval";
    /// What llama.cpp takes where no file says it.
    const DEFAULT_INTERVAL: u64 = 4;
    let name = |is_recurrent| if is_recurrent { "linear_attention" } else { "full_attention" };
    if let Some(recurrent) = keys.flags(RECURRENT)? {
        let blocks = keys.required("block_count")?;
        if recurrent.len() as u64 != blocks {
            return Err(keys.error(RECURRENT, format!("as many as block_count = {blocks}")));
        }
        let layers = usize::try_from(layers).unwrap_or(usize::MAX);
        return Ok(recurrent.into_iter().take(layers).map(name).collect());
    }
    let interval = keys.integer(INTERVAL)?.unwrap_or(DEFAULT_INTERVAL);
    if interval == 0 {
        return Err(keys.error(INTERVAL, "a number above 0"));
    }
    // Far more than there are; the reader says how many there may be.
    const MOST: u64 = 1 << 16;
    Ok((0..layers.min(MOST)).map(|layer| name(!(layer + 1).is_multiple_of(interval))).collect())
}

fn delta_net(keys: Keys<'_>, mut set: impl FnMut(&str, Value)) -> Result<(), CheckpointError> {
    let heads = ValueHeads::of(keys)?;
    set("linear_num_key_heads", heads.key_heads.into());
    set("linear_num_value_heads", heads.value_heads.into());
    set("linear_key_head_dim", keys.required("ssm.state_size")?.into());
    set("linear_value_head_dim", heads.width.into());
    set("linear_conv_kernel_dim", keys.required("ssm.conv_kernel")?.into());
    Ok(())
}

fn experts(keys: Keys<'_>, mut set: impl FnMut(&str, Value)) -> Result<(), CheckpointError> {
    set("num_experts", keys.required("expert_count")?.into());
    set("num_experts_per_tok", keys.required("expert_used_count")?.into());
    set("moe_intermediate_size", keys.required("expert_feed_forward_length")?.into());
    match keys.family {
        Family::Qwen35Moe => {
            set("shared_expert_intermediate_size", keys.required("expert_shared_feed_forward_length")?.into());
        }
        // llama.cpp has no key for it, and does so whatever the makers said.
        _ => set("norm_topk_prob", true.into()),
    }
    Ok(())
}

/// The value heads of a delta net.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueHeads {
    pub(super) key_heads: u64,
    pub(super) value_heads: u64,
    pub(super) width: u64,
}

impl ValueHeads {
    pub(super) fn of(keys: Keys<'_>) -> Result<Self, CheckpointError> {
        let (key_heads, value_heads) = (keys.required("ssm.group_count")?, keys.required("ssm.time_step_rank")?);
        let inner = keys.required("ssm.inner_size")?;
        let width = inner.checked_div(value_heads).filter(|width| width * value_heads == inner);
        let width = width.ok_or_else(|| {
            keys.error("ssm.inner_size", format!("a multiple of time_step_rank = {value_heads} heads"))
        })?;
        Ok(Self { key_heads, value_heads, width })
    }
}
