//! Llama 3 and what is built like it, SmolLM2 among them (transformers' models/llama).

#![forbid(unsafe_code)]

use serde_json::json;

use super::dense::{self, Family};
use crate::checkpoint::config::Told;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Fields;

pub(super) const MODEL_TYPE: &str = "llama";

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>) -> Result<Told, CheckpointError> {
    let family = Family {
        model_type: MODEL_TYPE,
        architectures: &["LlamaForCausalLM", "LlamaModel"],
        head_dim: None,
        qk_norm: false,
        rope_theta: Some(10_000.0),
        has_experts: false,
        implemented: vec![("mlp_bias", vec![json!(false)])],
        ignored: vec![
            ("attn_output_gate", vec![json!(false)]),
            ("use_sliding_window", vec![json!(false)]),
            ("sliding_window", Vec::new()),
            ("use_qk_norm", vec![json!(false)]),
            ("qk_norm", vec![json!(false)]),
        ],
    };
    dense::read(root, &family)
}
