//! What `generation_config.json` says is done, or said not to be.

use loquent::checkpoint::GenerationConfig;
use loquent::prelude::*;
use serde_json::{Value, json};

use crate::logged::logged;
use crate::tiny_checkpoint::TinyCheckpoint;

fn settings(settings: &Value) -> GenerationConfig {
    let tiny = TinyCheckpoint::new();
    tiny.write("generation_config.json", settings.to_string());
    tiny.load().expect("a checkpoint").generation
}

/// What is logged when a checkpoint with these settings is opened.
fn log_of(settings: &Value) -> String {
    let tiny = TinyCheckpoint::new();
    tiny.write("generation_config.json", settings.to_string());
    logged(|| _ = tiny.load().expect("a checkpoint"))
}

#[test]
fn settings_are_read_and_sampled_with() {
    let found = settings(&json!({
        "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0, "repetition_penalty": 1.5,
        "max_new_tokens": 40, "eos_token_id": [263, 262], "transformers_version": "5.0.0",
    }));
    assert_eq!(found.max_new_tokens, Some(40));
    assert_eq!(found.eos_token_ids, Some(vec![263, 262]));
    let expected = Sampling {
        temperature: 0.6,
        top_k: 20,
        top_p: 0.95,
        min_p: 0.0,
        repetition_penalty: 1.5,
        ..Sampling::default()
    };
    assert_eq!(found.sampling(), expected);
}

#[test]
fn what_is_open_or_null_is_as_in_transformers() {
    let greedy = Sampling::default();
    let sampled = Sampling { temperature: 1.0, top_k: 50, ..greedy.clone() };
    assert_eq!(GenerationConfig::default().sampling(), greedy);
    assert_eq!(settings(&json!({})), GenerationConfig::default());
    assert_eq!(settings(&json!({"do_sample": true})).sampling(), sampled);
    let null = json!({"do_sample": true, "temperature": null, "top_k": null, "top_p": null, "min_p": null,
        "repetition_penalty": null, "max_new_tokens": null, "eos_token_id": null, "max_length": null});
    assert_eq!(settings(&null).sampling(), sampled);
    assert!(!log_of(&null).contains("WARN"));
    // Without sampling, only the penalty has an effect.
    let unsampled = settings(&json!({"temperature": 0.6, "top_p": 0.5, "repetition_penalty": 1.5})).sampling();
    assert_eq!(unsampled, Sampling { repetition_penalty: 1.5, ..greedy });
}

#[test]
fn settings_at_the_border_of_their_range_mean_what_they_mean_in_transformers() {
    for (field, value) in [("top_p", 0.0), ("top_p", 1.0), ("min_p", 0.0), ("min_p", 1.0), ("temperature", 0.0)] {
        let sampling = settings(&json!({"do_sample": true, field: value})).sampling();
        let found = [("top_p", sampling.top_p), ("min_p", sampling.min_p), ("temperature", sampling.temperature)];
        assert!(found.contains(&(field, value as f32)), "{field} = {value}: {sampling:?}");
        Sampler::new(sampling, 0).expect("what a file may say can be sampled with");
    }
    assert_eq!(settings(&json!({"do_sample": true, "top_k": 0})).sampling().top_k, 0);
}

#[test]
fn settings_that_would_change_the_output_elsewhere_are_warned_of_once_by_name() {
    for (field, value) in [
        ("presence_penalty", json!(1.5)),
        ("frequency_penalty", json!(-1)),
        ("max_length", json!(10)),
        ("min_new_tokens", json!(3)),
        ("num_beams", json!(4)),
        ("typical_p", json!(0.9)),
        ("no_repeat_ngram_size", json!(2)),
        ("guidance_scale", json!(1.5)),
        ("penalty_alpha", json!(0.6)),
        ("stop_strings", json!(["x"])),
        ("suppress_tokens", json!([1])),
        ("sequence_bias", json!({"a": 1})),
        ("token_healing", json!(true)),
        ("forced_eos_token_id", json!(0)),
        ("of_next_year", json!("yes")),
    ] {
        let log = log_of(&json!({"do_sample": true, field: value, "top_k": 5}));
        assert_eq!(log.matches("WARN").count(), 1, "{field}: {log}");
        assert!(log.contains("generation_config.json") && log.contains(&format!("`{field}`")), "{log}");
        assert!(!log.contains("do_sample") && !log.contains("top_k"), "{log}");
    }
    let log = log_of(&json!({"num_beams": 4, "typical_p": 1.0, "penalty_alpha": 0.6}));
    assert!(log.contains("`num_beams`") && log.contains("found 4") && log.contains("`penalty_alpha`"), "{log}");
    assert!(!log.contains("typical_p"), "{log}");
}

#[test]
fn settings_that_change_nothing_are_not_warned_of() {
    let neutral = json!({
        "presence_penalty": 0, "frequency_penalty": 0.0, "num_beams": 1, "typical_p": 1.0, "epsilon_cutoff": 0.0,
        "no_repeat_ngram_size": 0, "guidance_scale": 1, "penalty_alpha": 0.0, "min_length": 0, "bad_words_ids": null,
        "suppress_tokens": [], "sequence_bias": {}, "token_healing": false, "early_stopping": true, "use_cache": true,
        "pad_token_id": 0, "bos_token_id": 1, "length_penalty": 2.0, "output_scores": true, "num_assistant_tokens": 5,
        "remove_invalid_values": true, "transformers_version": "4.57.0", "_from_model_config": true,
    });
    let log = log_of(&neutral);
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_file_of_nothing_but_unknown_settings_does_not_flood_the_log() {
    let many: serde_json::Map<String, Value> = (0..1000).map(|index| (format!("field {index}"), json!(1))).collect();
    let log = log_of(&Value::Object(many));
    assert!(log.lines().count() == 17 && log.contains("984 more"), "{log}");
}
