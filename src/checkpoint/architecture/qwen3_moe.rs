//! Qwen3, its mixtures of experts (transformers' models/qwen3_moe).

#![forbid(unsafe_code)]

use super::dense::{self, Family};
use super::qwen3;
use crate::checkpoint::config::Told;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Fields;

pub(super) const MODEL_TYPE: &str = "qwen3_moe";

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>) -> Result<Told, CheckpointError> {
    let family = Family {
        model_type: MODEL_TYPE,
        architectures: &["Qwen3MoeForCausalLM", "Qwen3MoeModel"],
        head_dim: None,
        has_experts: true,
        ..qwen3::family()
    };
    dense::read(root, &family)
}
