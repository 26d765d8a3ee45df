//! What a configuration asks for that the forward pass does not do: refused where a model of this family would compute
//! something else than we do, told of where it says nothing to this family, though it may have been meant to.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// Refuses every field by which a model of this family would compute something else than we do.
pub(super) fn refuse(root: Fields<'_>, text: Fields<'_>) -> Result<(), CheckpointError> {
    /// The whole model with its head, the text model with its head, and either as it is saved without.
    const ARCHITECTURES: [&str; 4] =
        ["Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM", "Qwen3_5Model", "Qwen3_5TextModel"];
    for architecture in root.array("architectures")?.unwrap_or_default() {
        if !architecture.as_str().is_some_and(|name| ARCHITECTURES.contains(&name)) {
            let found = describe(Some(architecture));
            return Err(root.error_found("architectures", ARCHITECTURES.join(" or "), found));
        }
    }
    let silu = [json!("silu"), json!("swish")];
    let only: [(&str, &[Value]); 7] = [
        ("hidden_act", &silu),
        ("output_gate_type", &silu),
        ("attn_output_gate", &[json!(true)]),
        ("attention_bias", &[json!(false)]),
        ("num_experts", &[json!(0)]),
        ("num_local_experts", &[json!(0)]),
        ("is_causal", &[json!(true)]),
    ];
    for (field, implemented) in only {
        if text.get(field).is_some_and(|value| !implemented.contains(value)) {
            let choices: Vec<String> = implemented.iter().map(Value::to_string).collect();
            return Err(text.error(field, format!("{} (nothing else is implemented)", choices.join(" or "))));
        }
    }
    for fields in [root, text] {
        for field in ["quantization_config", "compression_config"] {
            if fields.get(field).is_some() {
                return Err(fields.error(field, "no such field (quantised checkpoints are not read)"));
            }
        }
    }
    Ok(())
}

/// What the file says and nobody of this family listens to, so that it has no effect.
pub(super) fn without_effect(root: Fields<'_>, text: Fields<'_>) -> Vec<CheckpointError> {
    let mut told = Vec::new();
    // Settings of other families, each with the values that change nothing there.
    let neutral: [(&str, &[Value]); 11] = [
        ("use_sliding_window", &[json!(false)]),
        ("mlp_bias", &[json!(false)]),
        ("use_qk_norm", &[json!(true)]),
        ("qk_norm", &[json!(true)]),
        ("use_bidirectional_attention", &[json!(false)]),
        ("attn_logit_softcapping", &[]),
        ("final_logit_softcapping", &[]),
        ("logits_scaling", &[json!(1), json!(1.0)]),
        ("logit_scale", &[json!(1), json!(1.0)]),
        ("embedding_multiplier", &[json!(1), json!(1.0)]),
        ("residual_multiplier", &[json!(1), json!(1.0)]),
    ];
    for (field, neutral) in neutral {
        if text.get(field).is_some_and(|value| !neutral.contains(value)) {
            told.push(text.error(field, "no such field in a model of this family, where it has no effect"));
        }
    }
    const ROPE: [&str; 2] = ["rope_parameters", "rope_scaling"];
    const KNOWN: [&str; 6] =
        ["rope_type", "type", "rope_theta", "partial_rotary_factor", "mrope_section", "mrope_interleaved"];
    for rope in ROPE.iter().filter_map(|place| text.object(place).ok().flatten()) {
        for (field, _) in rope.entries().filter(|&(field, value)| !KNOWN.contains(&field) && !value.is_null()) {
            told.push(rope.error(field, "no such field where rope_type is \"default\", which it has no effect on"));
        }
    }
    if !text.is_outermost() {
        for field in ROPE.into_iter().chain(["rope_theta", "partial_rotary_factor"]) {
            if root.get(field).is_some() {
                told.push(root.error(field, "it in text_config, outside of which it has no effect"));
            }
        }
    }
    told
}
