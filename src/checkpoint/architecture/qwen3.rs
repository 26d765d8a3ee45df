//! Qwen3, its dense models (transformers' models/qwen3).

#![forbid(unsafe_code)]

use serde_json::json;

use super::dense::{self, Family};
use crate::checkpoint::config::Told;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Fields;

pub(super) const MODEL_TYPE: &str = "qwen3";

/// Reads the outermost object of a file.
pub(super) fn read(root: Fields<'_>) -> Result<Told, CheckpointError> {
    dense::read(root, &family())
}

pub(super) fn family() -> Family {
    Family {
        model_type: MODEL_TYPE,
        architectures: &["Qwen3ForCausalLM", "Qwen3Model"],
        head_dim: Some(128),
        qk_norm: true,
        rope_theta: Some(10_000.0),
        has_experts: false,
        // Where it is off, `sliding_window` and `max_window_layers` say nothing.
        implemented: vec![("use_sliding_window", vec![json!(false)])],
        ignored: vec![
            ("attn_output_gate", vec![json!(false)]),
            ("mlp_bias", vec![json!(false)]),
            ("use_qk_norm", vec![json!(true)]),
            ("qk_norm", vec![json!(true)]),
        ],
    }
}
