//! What a conversion did, or would do, to each tensor.

use crate::checkpoint::MTP;
use crate::quant::Deviation;

/// The tensors in the order of the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConvertReport {
    /// One for each tensor.
    pub tensors: Vec<ConvertedTensor>,
    /// By how much the logits of a changed model differ at most from the original's, both in double precision, before
    /// anything is narrowed; `None` where nothing is changed, or nothing was done.
    pub logit_difference: Option<f64>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConvertedTensor {
    /// Its full name.
    pub name: String,
    /// Where in the model it stands.
    pub part: Part,
    /// Whether it is in four bits; in half precision if not.
    pub quantized: bool,
    /// How many elements it has.
    pub elements: u64,
    /// What it takes in the source, in bytes: none if it is another tensor there as well.
    pub source_bytes: u64,
    /// The length of its new file, in bytes.
    pub written_bytes: u64,
    /// How far what is stored is from the source, after what was done to it in double precision; `None` in a report of
    /// what would be done.
    pub deviation: Option<Deviation>,
}

/// A part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Part {
    /// What turns tokens into vectors.
    Embedding,
    /// What turns vectors into logits, where it is no embedding.
    Head,
    /// The mixers of full-attention layers.
    Attention,
    /// The mixers of linear-attention layers.
    DeltaNet,
    /// The feed-forward halves.
    Mlp,
    /// The norms between them.
    Norm,
    /// The head that predicts several tokens.
    MultiTokenHead,
}

impl Part {
    /// That of the tensor with this name in the text model.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "embed_tokens.weight" => Self::Embedding,
            "lm_head.weight" => Self::Head,
            name if name.starts_with(MTP) => Self::MultiTokenHead,
            name if name.contains(".self_attn.") => Self::Attention,
            name if name.contains(".linear_attn.") => Self::DeltaNet,
            name if name.contains(".mlp.") => Self::Mlp,
            _ => Self::Norm,
        }
    }
}
