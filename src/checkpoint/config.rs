//! A model's dimensions, whichever file they were read from.

#![forbid(unsafe_code)]

use super::error::CheckpointError;
use super::rope::RopeConfig;

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
    /// Text model beside a vision tower, its fields under `text_config`: `qwen3_5`.
    Multimodal,
    /// Fields at top level: all others.
    TextOnly,
}

/// What a stored weight of a norm means: of those of the residual stream, and of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormWeight {
    /// What is multiplied by.
    Factor,
    /// What is multiplied by, less one.
    LessOne,
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
    /// Whether what a head reads passes a gate, which the query projection gives beside each query.
    pub output_gate: bool,
    /// Whether queries and keys are normalised, head by head.
    pub qk_norm: bool,
    /// How heads are rotated to their positions.
    pub rope: RopeConfig,
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
    /// Whether value heads that share a key head lie `num_key_heads` apart, as llama.cpp has them, rather than next to each
    /// other, as models are published.
    pub tiled_value_heads: bool,
}

/// Dimensions of the layers whose feed-forward half is a mixture of experts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoeConfig {
    /// Experts of a layer.
    pub num_experts: usize,
    /// How many of them a token goes through.
    pub num_experts_per_tok: usize,
    /// Width inside each.
    pub intermediate_size: usize,
    /// Width inside the expert that every token goes through; `None` where there is none.
    pub shared_expert_intermediate_size: Option<usize>,
    /// Whether the probabilities of those that a token goes through are divided by their sum.
    pub norm_topk_prob: bool,
    /// Of each layer of the model, whether it has experts.
    pub layers: Vec<bool>,
}

impl MoeConfig {
    /// The width of the widest expert.
    #[must_use]
    pub fn widest(&self) -> usize {
        self.intermediate_size.max(self.shared_expert_intermediate_size.unwrap_or(0))
    }
}

impl AttentionConfig {
    /// Width of all queries, and of all that is read.
    #[must_use]
    pub fn query_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all keys, and of all values.
    #[must_use]
    pub fn key_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Width of what the query projection gives: queries, and gates if there are any.
    #[must_use]
    pub fn projected_query_dim(&self) -> usize {
        if self.output_gate { 2 * self.query_dim() } else { self.query_dim() }
    }
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
    /// Width inside the feed-forward half of layers without experts; 0 where there are none.
    pub intermediate_size: usize,
    /// One entry per layer, in order.
    pub layer_types: Vec<LayerType>,
    /// Added to every mean square before its root.
    pub rms_norm_eps: f32,
    /// What the weights of norms mean.
    pub norm_weight: NormWeight,
    /// Whether the embedding is the head as well.
    pub tie_word_embeddings: bool,
    /// Longest sequence the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Of the full-attention layers.
    pub attention: AttentionConfig,
    /// Of the linear-attention layers; `None` where there are none.
    pub delta_net: Option<DeltaNetConfig>,
    /// Of the layers with experts; `None` where there are none.
    pub moe: Option<MoeConfig>,
    /// Whether there is a head that predicts several tokens, `mtp`: of a checkpoint, whether it holds one that we read.
    pub mtp: bool,
    /// What ends a text, unless `generation_config.json` says otherwise.
    pub eos_token_ids: Vec<u32>,
    /// The seed of the rotation that the weights went through, if they did. They compute the same with and without.
    pub rotation_seed: Option<u64>,
}

impl ModelConfig {
    /// Dimensions of the linear-attention layers, for those who have one in hand.
    ///
    /// # Panics
    /// If the model has none.
    #[must_use]
    pub fn linear_attention(&self) -> &DeltaNetConfig {
        self.delta_net.as_ref().expect("a model with linear-attention layers says how large they are")
    }

    /// Dimensions of the experts of a layer, if it has some.
    #[must_use]
    pub fn experts_of(&self, layer: usize) -> Option<&MoeConfig> {
        self.moe.as_ref().filter(|moe| moe.layers.get(layer).is_some_and(|&has_experts| has_experts))
    }

    /// That of the head that predicts several tokens, as a model of one layer.
    #[must_use]
    pub fn of_head(&self) -> Self {
        let moe = self.moe.clone().map(|moe| MoeConfig { layers: vec![true], ..moe });
        Self { layer_types: vec![LayerType::FullAttention], moe, mtp: false, ..self.clone() }
    }
}

/// A configuration, and what its file says besides that has no effect.
pub(super) struct Told {
    pub(super) config: ModelConfig,
    pub(super) warnings: Vec<CheckpointError>,
}

impl Told {
    /// Warns of the latter.
    pub(super) fn tell(self) -> ModelConfig {
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.config
    }
}
