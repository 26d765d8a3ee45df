//! `config.json` → dimensions that are known to fit together. What the forward pass does not implement is refused here,
//! not guessed at; fields that change nothing are ignored.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;

use super::error::CheckpointError;
use super::json::{self, Fields, describe};
use super::rope;
use super::source::Source;
use super::unimplemented;

/// A configuration is a few kilobytes.
const LARGEST_CONFIG: u64 = 1 << 20;
/// A hundred times the largest published dimension, and small enough that products of two and three cannot overflow.
const DIMENSION: RangeInclusive<usize> = 1..=1 << 20;
/// Token ids are 32 bits wide.
const VOCABULARY: RangeInclusive<usize> = 1..=1 << 31;
const LAYERS: RangeInclusive<usize> = 1..=4096;
const POSITIONS: RangeInclusive<usize> = 1..=1 << 31;

/// How a layer mixes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerType {
    /// Gated delta net: a state of fixed size.
    LinearAttention,
    /// Attention over a cache of all keys and values.
    FullAttention,
}

/// Which of the two published arrangements of names a checkpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `qwen3_5`: text model beside a vision tower, its fields under `text_config`.
    Multimodal,
    /// `qwen3_5_text`: fields at top level.
    TextOnly,
}

impl Layout {
    /// What the names of the text model's tensors begin with in a checkpoint as published, except for `lm_head.weight`.
    #[must_use]
    pub const fn tensor_prefix(self) -> &'static str {
        match self {
            Self::Multimodal => "model.language_model.",
            Self::TextOnly => "model.",
        }
    }
}

/// Dimensions of the full-attention layers.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Query heads; a multiple of `num_kv_heads`.
    pub num_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Width of each head.
    pub head_dim: usize,
    /// How many leading elements of a head are rotated: even, from 2 to `head_dim`.
    pub rotary_dim: usize,
    /// Base of the rotary frequencies: pair `i` turns by `rope_theta^(-2i / rotary_dim)` per position.
    pub rope_theta: f64,
}

/// Dimensions of the linear-attention layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaNetConfig {
    /// Query and key heads.
    pub num_key_heads: usize,
    /// Value heads; a multiple of `num_key_heads`.
    pub num_value_heads: usize,
    /// Width of each query and key head.
    pub key_head_dim: usize,
    /// Width of each value head.
    pub value_head_dim: usize,
    /// Taps of the causal convolution.
    pub conv_kernel: usize,
}

impl DeltaNetConfig {
    /// Width of all queries, and of all keys.
    #[must_use]
    pub fn key_dim(&self) -> usize {
        self.num_key_heads * self.key_head_dim
    }

    /// Width of all values.
    #[must_use]
    pub fn value_dim(&self) -> usize {
        self.num_value_heads * self.value_head_dim
    }

    /// What the convolution runs over: queries, keys and values side by side.
    #[must_use]
    pub fn channels(&self) -> usize {
        2 * self.key_dim() + self.value_dim()
    }
}

/// The text model's dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// How tensors are named.
    pub layout: Layout,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward half.
    pub intermediate_size: usize,
    /// One entry per layer, in order.
    pub layer_types: Vec<LayerType>,
    /// Added to every mean square before its root.
    pub rms_norm_eps: f32,
    /// Whether the embedding is the head as well.
    pub tie_word_embeddings: bool,
    /// Longest sequence the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Of the full-attention layers.
    pub attention: AttentionConfig,
    /// Of the linear-attention layers.
    pub delta_net: DeltaNetConfig,
    /// What ends a text, unless `generation_config.json` says otherwise.
    pub eos_token_ids: Vec<u32>,
    /// The seed of the rotation that the weights went through, if they did. They compute the same with and without.
    pub rotation_seed: Option<u64>,
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// If there is no such file, or as [`ModelConfig::from_json`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Self::load(Source::Directory(directory), name).map(Told::tell)
    }

    pub(super) fn load(source: Source<'_>, file: &str) -> Result<Told, CheckpointError> {
        let path = source.path(file);
        match source.text(file, LARGEST_CONFIG)? {
            Some(text) => Self::parse(&path, &text),
            None => Err(CheckpointError::file(&path, "a model's configuration", "no such file")),
        }
    }

    /// Parses the text of a `config.json`; `file` only names it in messages.
    ///
    /// # Errors
    /// If a field is missing, out of range or at odds with another, or asks for what is not implemented.
    pub fn from_json(file: &Path, text: &str) -> Result<Self, CheckpointError> {
        Self::parse(file, text).map(Told::tell)
    }

    fn parse(file: &Path, text: &str) -> Result<Told, CheckpointError> {
        let value = json::parse(file, text)?;
        let root = Fields::of(file, &value)?;
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
        let config = Self {
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
}

/// A configuration, and what its file says besides that has no effect.
pub(super) struct Told {
    pub(super) config: ModelConfig,
    pub(super) warnings: Vec<CheckpointError>,
}

impl Told {
    fn tell(self) -> ModelConfig {
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.config
    }
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
