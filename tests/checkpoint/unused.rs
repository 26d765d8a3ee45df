//! What a checkpoint says and has no effect is warned of, once.

use serde_json::{Value, json};

use crate::logged;
use crate::tiny_checkpoint::{TinyCheckpoint, llama_config, qwen3_config};

/// The warnings when it opens.
fn warnings(tiny: &TinyCheckpoint) -> Vec<String> {
    let log = logged(|| _ = tiny.load().unwrap());
    log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

#[track_caller]
fn assert_warned(tiny: &TinyCheckpoint, parts: &[&str]) {
    let warnings = warnings(tiny);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    for part in parts {
        assert!(warnings[0].contains(part), "{} does not say {part}", warnings[0]);
    }
}

#[test]
fn settings_of_other_families_are_warned_of_unless_they_change_nothing() {
    for (field, neutral, other) in [
        ("use_sliding_window", json!(false), json!(true)),
        ("mlp_bias", json!(false), json!(true)),
        ("use_qk_norm", json!(true), json!(false)),
        ("final_logit_softcapping", json!(null), json!(30.0)),
        ("attn_logit_softcapping", json!(null), json!(50)),
        ("logits_scaling", json!(1.0), json!(8.0)),
        ("embedding_multiplier", json!(1), json!(12)),
    ] {
        let tiny = TinyCheckpoint::new().with_field(field, neutral);
        assert_eq!(warnings(&tiny), [""; 0], "{field}");
        let found = format!("found {other}");
        let tiny = TinyCheckpoint::new().with_field(field, other);
        assert_warned(&tiny, &["config.json", &format!("`{field}`"), "no effect", &found]);
    }
    assert_warned(
        &TinyCheckpoint::multimodal().with_field("mlp_bias", json!(true)),
        &["`text_config.mlp_bias`", "no effect"],
    );
}

#[test]
fn rope_settings_that_the_default_kind_does_not_know_are_warned_of() {
    let rope = |field: &str, value: Value| {
        let known = json!({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25,
            "mrope_section": [11, 11, 10], "mrope_interleaved": true, "factor": null, field: value});
        TinyCheckpoint::new().with_field("rope_parameters", known)
    };
    assert_eq!(warnings(&rope("factor", json!(null))), [""; 0]);
    assert_warned(&rope("factor", json!(4.0)), &["`rope_parameters.factor`", "found 4.0", "no effect"]);
    let tiny = TinyCheckpoint::new().with_field("rope_scaling", json!({"original_max_position_embeddings": 32}));
    assert_warned(&tiny, &["`rope_scaling.original_max_position_embeddings`", "found 32"]);
}

#[test]
fn each_family_has_settings_of_its_own() {
    let of = |config: Value| TinyCheckpoint::with_config(config);
    assert_eq!(warnings(&of(qwen3_config())), [""; 0]);
    assert_eq!(warnings(&of(llama_config())), [""; 0]);
    assert_warned(&of(qwen3_config()).with_field("mlp_bias", json!(true)), &["`mlp_bias`", "no effect"]);
    assert_warned(&of(llama_config()).with_field("use_sliding_window", json!(true)), &["`use_sliding_window`"]);
    assert_warned(&of(llama_config()).with_field("use_qk_norm", json!(true)), &["`use_qk_norm`", "no effect"]);
    let linear = json!({"rope_type": "linear", "factor": 2.0, "beta_fast": 32});
    let tiny = of(llama_config()).with_field("rope_scaling", linear);
    assert_warned(&tiny, &["`rope_scaling.beta_fast`", "rope_type is \"linear\"", "no effect"]);
}

#[test]
fn settings_of_the_text_model_that_stand_outside_of_it_are_warned_of() {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.config["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0});
    tiny.write_config();
    assert_warned(&tiny, &["`rope_scaling`", "text_config", "no effect"]);
}

#[test]
fn an_adapter_beside_the_model_is_warned_of() {
    let tiny = TinyCheckpoint::new();
    tiny.write("adapter_config.json", "{}");
    assert_warned(&tiny, &["adapter_config.json", "no adapter", "none is applied"]);
}
