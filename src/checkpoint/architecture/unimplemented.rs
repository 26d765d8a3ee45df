//! What a configuration asks for that the forward pass does not do: refused where a model of its family would compute
//! something else than we do, told of where it says nothing to that family, though it may have been meant to.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// A field, and values of it.
pub(super) type Setting = (&'static str, Vec<Value>);

/// Refuses classes other than these.
pub(super) fn refuse_architectures(root: Fields<'_>, known: &[&str]) -> Result<(), CheckpointError> {
    for architecture in root.array("architectures")?.unwrap_or_default() {
        if !architecture.as_str().is_some_and(|name| known.contains(&name)) {
            return Err(root.error_found("architectures", known.join(" or "), describe(Some(architecture))));
        }
    }
    Ok(())
}

/// Refuses every field by which a model of any family would compute something else than we do, and those by which one of
/// this family would: `own` are those that it listens to, with the values that are implemented.
pub(super) fn refuse_settings(text: Fields<'_>, own: &[Setting]) -> Result<(), CheckpointError> {
    let shared = [("hidden_act", silu()), ("attention_bias", vec![json!(false)]), ("is_causal", vec![json!(true)])];
    for (field, implemented) in shared.iter().chain(own) {
        if text.get(field).is_some_and(|value| !implemented.contains(value)) {
            let choices: Vec<String> = implemented.iter().map(Value::to_string).collect();
            return Err(text.error(field, format!("{} (nothing else is implemented)", choices.join(" or "))));
        }
    }
    Ok(())
}

/// The names of the one activation function.
pub(super) fn silu() -> Vec<Value> {
    vec![json!("silu"), json!("swish")]
}

/// Refuses checkpoints whose weights others have quantised.
pub(super) fn refuse_quantised(fields: Fields<'_>) -> Result<(), CheckpointError> {
    for field in ["quantization_config", "compression_config"] {
        if fields.get(field).is_some() {
            let expected =
                "no such field (FP8, GPTQ, AWQ and the like are not read: convert the BF16 checkpoint instead)";
            return Err(fields.error(field, expected));
        }
    }
    Ok(())
}

/// What the file says and nobody of this family listens to, so that it has no effect. `others` are settings of some other
/// families, as all below, each with the values that change nothing there.
pub(super) fn without_effect(text: Fields<'_>, others: &[Setting]) -> Vec<CheckpointError> {
    let one = || vec![json!(1), json!(1.0)];
    let all = [
        ("use_bidirectional_attention", vec![json!(false)]),
        ("attn_logit_softcapping", Vec::new()),
        ("final_logit_softcapping", Vec::new()),
        ("logits_scaling", one()),
        ("logit_scale", one()),
        ("embedding_multiplier", one()),
        ("residual_multiplier", one()),
    ];
    let has_effect = |(field, neutral): &&Setting| text.get(field).is_some_and(|value| !neutral.contains(value));
    let told = others.iter().chain(&all).filter(has_effect);
    told.map(|(field, _)| text.error(field, "no such field in a model of this family, where it has no effect"))
        .collect()
}
