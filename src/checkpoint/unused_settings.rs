//! What a `generation_config.json` asks for and does not get. The fields are those of transformers 5.24's
//! `GenerationConfig` and of versions before it, and two that vLLM reads.

#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::Value;

use super::error::CheckpointError;
use super::json::Fields;

const NOTE: &str = "it is not implemented and has no effect";

/// Fields that are read.
const HONOURED: [&str; 8] =
    ["do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "eos_token_id"];

/// Fields that change no token of ours, whatever they hold.
const HARMLESS: [&str; 43] = [
    // How transformers computes and caches.
    "use_cache",
    "cache_implementation",
    "cache_config",
    "max_cache_len",
    "return_legacy_cache",
    "prefill_chunk_size",
    "compile_config",
    "disable_compile",
    "low_memory",
    "continuous_batching_config",
    // What its functions return beside the tokens.
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    // The tokenizer adds the first token; nothing is padded; there is no encoder.
    "bos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    // Only together with `num_beams`, which is warned of.
    "early_stopping",
    "length_penalty",
    "diversity_penalty",
    "num_beam_groups",
    // Guesses by a smaller model, which are checked, so that they only save time.
    "use_mtp",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "target_lookbehind",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "speculation_type",
    // Probabilities always sum to 1 here, and logits that are not finite are an error.
    "renormalize_logits",
    "remove_invalid_values",
    // Where the file comes from.
    "transformers_version",
    "trust_remote_code",
    "_from_model_config",
    "_commit_hash",
    "_name_or_path",
    "model_type",
    "architectures",
];

/// Fields that change tokens elsewhere and not here, as far as there is a number that changes none.
const UNUSED: [(&str, f64); 14] = [
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
    ("num_beams", 1.0),
    ("num_return_sequences", 1.0),
    ("typical_p", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("no_repeat_ngram_size", 0.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("guidance_scale", 1.0),
    ("penalty_alpha", 0.0),
    // Not transformers' but vLLM's; ours come from the caller only.
    ("presence_penalty", 0.0),
    ("frequency_penalty", 0.0),
];

/// All that would change the output elsewhere and does not here: what is not implemented, and what nobody knows.
pub(super) fn unused(file: &Path, fields: Fields<'_>) -> Vec<CheckpointError> {
    const NAMED: usize = 16;
    let is_unused = |field: &str| !HONOURED.contains(&field) && !HARMLESS.contains(&field);
    let mut unused = fields.entries().filter(|(field, value)| is_unused(field) && asks(field, value));
    let named = unused.by_ref().take(NAMED);
    let mut told: Vec<_> = named.map(|(field, _)| fields.error(field, format!("no such field ({NOTE})"))).collect();
    let more = unused.count();
    if more > 0 {
        told.push(CheckpointError::file(file, format!("no such fields ({NOTE})"), format!("{more} more")));
    }
    told
}

/// Whether a value asks for anything: one that is absent, `false` or empty does not.
fn asks(field: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        value => !UNUSED.iter().any(|&(name, neutral)| name == field && value.as_f64() == Some(neutral)),
    }
}
