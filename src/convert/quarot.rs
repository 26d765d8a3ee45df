//! QuaRot ("QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", Ashkboos et al., 2024): the residual stream is rotated
//! within the weights, so that outliers are spread over all channels before four bits are laid over them. What reads the
//! stream turns it back and what writes to it turns along, so the model computes the same.
//!
//! A norm stands between the stream and what reads it. A rotation passes through its root mean square, not through its
//! weight, so that goes into the matrices after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::change::{Change, Norm};
use super::error::ConvertError;
use super::files;
use super::model::{Model, PlannedTensor};
use super::options::QuaRot;
use crate::checkpoint::{Checkpoint, CheckpointError, ModelConfig, StoredTensor};
use crate::quant::Rotation;
use crate::world::promised::{PromisedTensor, TensorRole, promised_tensors};
use crate::world::role::{MatrixRole, VectorRole};

/// The model `stored`, rotated. A head that is the embedding becomes a matrix of its own, since the final norm goes into
/// the one and not into the other. A head that predicts several tokens is left out: it reads what the final norm gives, which
/// is none of the rotated model's states.
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
    let config =
        ModelConfig { tie_word_embeddings: false, rotation_seed: Some(quarot.seed), mtp: false, ..original.clone() };
    let sources: BTreeMap<&str, &StoredTensor> =
        stored.tensors.iter().map(|tensor| (&*tensor.promised.name, &tensor.stored)).collect();
    let missing = |name: &str| unknown(source, name, "a tensor of the model");
    let mut tensors = Vec::new();
    let promised = promised_tensors(&config);
    // All norms of the stream are of one kind.
    let shift = VectorRole::of_norm(&config).norm_shift().unwrap_or_default();
    let stream_norms: BTreeSet<String> = promised.iter().filter_map(PromisedTensor::stream_norm).collect();
    for promised in promised {
        let source_name = match &*promised.name {
            "lm_head.weight" if original.tie_word_embeddings => "embed_tokens.weight",
            name => name,
        };
        let found = *sources.get(source_name).ok_or_else(|| missing(source_name))?;
        let change = match promised.role {
            TensorRole::Matrix(MatrixRole::Embeds) => Change::RotateRows { rotation: rotation.clone(), norm: None },
            TensorRole::Matrix(MatrixRole::Reads(_) | MatrixRole::Routes) => {
                let norm = promised.stream_norm().unwrap_or_default();
                let stored = *sources.get(&*norm).ok_or_else(|| missing(&norm))?;
                let norm = Norm { stored: stored.clone(), shift };
                Change::RotateRows { rotation: rotation.clone(), norm: Some(norm) }
            }
            TensorRole::Matrix(MatrixRole::Writes) => Change::RotateColumns { rotation: rotation.clone() },
            TensorRole::Vector(_) if stream_norms.contains(&promised.name) => Change::Fill(1.0 - shift),
            TensorRole::Vector(_) | TensorRole::Matrix(MatrixRole::Joins) => Change::Keep,
        };
        tensors.push(PlannedTensor::new(&stored.names, promised, found.clone(), change));
    }
    Ok(Model { config, names: stored.names.clone(), tensors })
}

fn unknown(source: &Path, tensor: &str, expected: &str) -> CheckpointError {
    let found = "one that we would have to guess about".into();
    CheckpointError::Tensor { file: source.into(), tensor: tensor.into(), expected: expected.into(), found }
}
