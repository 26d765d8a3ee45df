//! QuaRot ("QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", Ashkboos et al., 2024): the residual stream is rotated
//! within the weights, so that outliers are spread over all channels before four bits are laid over them. What reads the
//! stream turns it back and what writes to it turns along, so the model computes the same.
//!
//! A norm stands between the stream and what reads it. A rotation passes through its root mean square, not through its
//! weight, so that goes into the matrices after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::change::Change;
use super::error::ConvertError;
use super::files;
use super::model::{Model, PlannedTensor};
use super::options::QuaRot;
use crate::checkpoint::{Checkpoint, CheckpointError, ModelConfig, StoredTensor};
use crate::quant::Rotation;
use crate::world::promised::promised_tensors;

/// Where a tensor stands to the residual stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// A matrix that reads the stream through the norm of this name, or is the embedding, whose rows the stream begins as.
    Reads { norm: Option<String> },
    /// A matrix that writes to the stream.
    Writes,
    /// A norm of the stream.
    Norm,
    /// Something within a mixer, which never meets the stream.
    Within,
}

impl Role {
    /// That of the tensor with this name in the text model, if we know one.
    fn of(name: &str) -> Option<Self> {
        let reads = |norm: String| Self::Reads { norm: Some(norm) };
        let Some((layer, tensor)) = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) else {
            return match name {
                "embed_tokens.weight" => Some(Self::Reads { norm: None }),
                "lm_head.weight" => Some(reads("norm.weight".into())),
                "norm.weight" => Some(Self::Norm),
                _ => None,
            };
        };
        match tensor {
            "input_layernorm.weight" | "post_attention_layernorm.weight" => Some(Self::Norm),
            "self_attn.q_proj.weight"
            | "self_attn.k_proj.weight"
            | "self_attn.v_proj.weight"
            | "linear_attn.in_proj_qkv.weight"
            | "linear_attn.in_proj_z.weight"
            | "linear_attn.in_proj_b.weight"
            | "linear_attn.in_proj_a.weight" => Some(reads(format!("layers.{layer}.input_layernorm.weight"))),
            "mlp.gate_proj.weight" | "mlp.up_proj.weight" => {
                Some(reads(format!("layers.{layer}.post_attention_layernorm.weight")))
            }
            "self_attn.o_proj.weight" | "linear_attn.out_proj.weight" | "mlp.down_proj.weight" => Some(Self::Writes),
            "self_attn.q_norm.weight"
            | "self_attn.k_norm.weight"
            | "linear_attn.conv1d.weight"
            | "linear_attn.A_log"
            | "linear_attn.dt_bias"
            | "linear_attn.norm.weight" => Some(Self::Within),
            _ => None,
        }
    }
}

/// The model `stored`, rotated. A head that is the embedding becomes a matrix of its own, since the final norm goes into
/// the one and not into the other.
pub(super) fn rotated(
    stored: &Model,
    checkpoint: &Checkpoint,
    source: &Path,
    quarot: QuaRot,
) -> Result<Model, ConvertError> {
    let original = &stored.config;
    let field = |field: &str, expected: &str, found: String| {
        let file = source.join(files::CONFIG);
        CheckpointError::Field { file, field: field.into(), expected: expected.into(), found }
    };
    if let Some(seed) = original.rotation_seed {
        let expected = "no such field in a checkpoint to rotate, whose weights must not be rotated already";
        return Err(field("quarot_rotation_seed", expected, seed.to_string()).into());
    }
    let Some(rotation) = Rotation::new(quarot.seed, original.hidden_size) else {
        let expected = "a power of two, which alone can be rotated";
        return Err(field("hidden_size", expected, original.hidden_size.to_string()).into());
    };
    if let Some(name) = checkpoint.left_over().next() {
        let expected = "only tensors whose place beside the residual stream is known";
        return Err(unknown(source, name, expected).into());
    }

    let rotation = Arc::new(rotation);
    let config = ModelConfig { tie_word_embeddings: false, rotation_seed: Some(quarot.seed), ..original.clone() };
    let sources: BTreeMap<&str, &StoredTensor> =
        stored.tensors.iter().map(|tensor| (&*tensor.promised.name, &tensor.stored)).collect();
    let missing = |name: &str| unknown(source, name, "a tensor of the model");
    let mut tensors = Vec::new();
    for promised in promised_tensors(&config) {
        let source_name = match &*promised.name {
            "lm_head.weight" if original.tie_word_embeddings => "embed_tokens.weight",
            name => name,
        };
        let found = *sources.get(source_name).ok_or_else(|| missing(source_name))?;
        let change = match Role::of(&promised.name).ok_or_else(|| missing(&promised.name))? {
            Role::Reads { norm: None } => Change::RotateRows { rotation: rotation.clone(), norm: None },
            Role::Reads { norm: Some(norm) } => {
                let norm = *sources.get(&*norm).ok_or_else(|| missing(&norm))?;
                Change::RotateRows { rotation: rotation.clone(), norm: Some(norm.clone()) }
            }
            Role::Writes => Change::RotateColumns { rotation: rotation.clone() },
            Role::Norm => Change::Clear,
            Role::Within => Change::Keep,
        };
        tensors.push(PlannedTensor::new(&stored.names, promised, found.clone(), change));
    }
    Ok(Model { config, names: stored.names.clone(), tensors })
}

fn unknown(source: &Path, tensor: &str, expected: &str) -> CheckpointError {
    let found = "one that we would have to guess about".into();
    CheckpointError::Tensor { file: source.into(), tensor: tensor.into(), expected: expected.into(), found }
}
