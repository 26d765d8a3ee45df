//! `config.json` of families that attend in all layers: what is missing, at odds, or asks for what is not implemented.

use serde_json::{Value, json};

use crate::tiny_checkpoint::{TinyCheckpoint, llama_config, qwen3_config};

fn families() -> [TinyCheckpoint; 2] {
    [qwen3_config(), llama_config()].map(TinyCheckpoint::with_config)
}

/// Asserts that this value of a field is refused with these words, whichever family it is of.
#[track_caller]
fn assert_refused_by_all(field: &str, value: &Value, parts: &[&str]) {
    for tiny in families() {
        let tiny = tiny.with_field(field, value.clone());
        tiny.assert_refused("config.json", &[&[&*format!("`{field}`")], parts].concat());
    }
}

#[test]
fn every_size_must_be_there() {
    for field in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
    ] {
        for value in [json!(0), json!(-1), json!("8"), json!(1e18)] {
            assert_refused_by_all(field, &value, &[&format!("found {value}")]);
        }
        for tiny in families() {
            tiny.without_field(field).assert_refused("config.json", &[&format!("`{field}`"), "found nothing"]);
        }
    }
    for tiny in families() {
        tiny.without_field("rms_norm_eps").assert_refused("config.json", &["`rms_norm_eps`", "found nothing"]);
    }
}

#[test]
fn heads_must_divide() {
    assert_refused_by_all("num_key_value_heads", &json!(0), &["an integer from 1 to", "found 0"]);
    for tiny in families() {
        let tiny = tiny.with_field("num_key_value_heads", json!(3));
        let parts = ["`num_attention_heads`", "a multiple of num_key_value_heads = 3", "found 2"];
        tiny.assert_refused("config.json", &parts);
    }
    // Only a family that shares the stream's width among the heads cares.
    let tiny = TinyCheckpoint::with_config(llama_config()).with_field("num_attention_heads", json!(3));
    let parts = ["`hidden_size`", "a multiple of num_attention_heads = 3", "found 8"];
    tiny.assert_refused("config.json", &parts);
    let tiny = TinyCheckpoint::with_config(llama_config()).with_field("head_dim", json!(7));
    tiny.assert_refused("config.json", &["`partial_rotary_factor`", "even and above 0", "1 of 7, which is 7"]);
}

#[test]
fn what_is_not_implemented_is_refused() {
    for (field, value, expected) in [
        ("hidden_act", json!("gelu"), "\"silu\""),
        ("attention_bias", json!(true), "false"),
        ("num_experts", json!(64), "0"),
        ("num_local_experts", json!(8), "0"),
        ("is_causal", json!(false), "true"),
        ("partial_rotary_factor", json!(0.5), "1 (nothing else is implemented)"),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "\"full_attention\" (nothing else"),
        ("layer_types", json!(["full_attention"]), "as many as num_hidden_layers = 2"),
        ("text_config", json!({}), "no such field where model_type is"),
    ] {
        assert_refused_by_all(field, &value, &[&format!("expected {expected}"), "found "]);
    }
    assert_refused_by_all("architectures", &json!(["Qwen2ForCausalLM"]), &["ForCausalLM or ", "\"Qwen2ForCausalLM\""]);
    for quantised in ["fp8", "gptq", "awq"] {
        let parts = ["no such field", "convert the BF16 checkpoint", "found an object"];
        assert_refused_by_all("quantization_config", &json!({"quant_method": quantised}), &parts);
    }
    for (config, field) in [(qwen3_config(), "use_sliding_window"), (llama_config(), "mlp_bias")] {
        let tiny = TinyCheckpoint::with_config(config).with_field(field, json!(true));
        tiny.assert_refused("config.json", &[&format!("`{field}`"), "expected false", "found true"]);
    }
}

/// With other rotary settings.
fn scaled(mut settings: Value, field: &str, value: Value) -> TinyCheckpoint {
    settings[field] = value;
    TinyCheckpoint::with_config(llama_config()).with_field("rope_scaling", settings)
}

#[test]
fn scaling_needs_all_its_settings_within_their_ranges() {
    let linear = json!({"type": "linear", "factor": 2.0});
    let yarn = json!({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32});
    let llama3 = json!({"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32});
    for settings in [&linear, &yarn, &llama3] {
        for factor in [json!(null), json!(0.5), json!(-2), json!("2")] {
            let parts = ["`rope_scaling.factor`", "a finite number that is at least 1", &format!("found {factor}")];
            scaled(settings.clone(), "factor", factor.clone()).assert_refused("config.json", &parts);
        }
    }
    for (settings, fields, value, expected) in [
        (&llama3, &["low_freq_factor", "high_freq_factor"][..], json!(null), "a finite number above 0"),
        (&llama3, &["low_freq_factor", "high_freq_factor"], json!(0), "a finite number above 0"),
        (&llama3, &["low_freq_factor"], json!(4), "more than low_freq_factor = 4"),
        (&llama3, &["original_max_position_embeddings"], json!(0), "an integer from 1 to"),
        (&yarn, &["original_max_position_embeddings"], json!(32.5), "an integer from 1 to"),
        (&yarn, &["beta_fast", "beta_slow", "mscale", "mscale_all_dim"], json!(-1), "at least 0"),
        (&yarn, &["attention_factor"], json!(0), "a finite number above 0"),
        (&yarn, &["truncate"], json!(1), "true or false"),
    ] {
        for field in fields {
            let named = if expected.starts_with("more") { "high_freq_factor" } else { field };
            let parts = [&format!("`rope_scaling.{named}`"), expected];
            scaled(settings.clone(), field, value.clone()).assert_refused("config.json", &parts);
        }
    }
    // Its logarithm is divided by.
    let tiny = scaled(yarn, "rope_theta", json!(1.0)).without_field("rope_theta");
    tiny.assert_refused("config.json", &["`rope_theta`", "finite frequencies", "1 with the settings"]);
}

#[test]
fn scaling_that_is_said_twice_must_be_the_same() {
    let twice = |field: &str, value: Value| {
        let mut config = llama_config();
        config["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
        let mut other = config["rope_scaling"].clone();
        other[field] = value;
        TinyCheckpoint::with_config(config).with_field("rope_parameters", other)
    };
    let parts = ["`rope_scaling.rope_type`", "rope_parameters.rope_type = \"yarn\"", "found \"linear\""];
    twice("rope_type", json!("yarn")).assert_refused("config.json", &parts);
    let parts = ["`rope_scaling.factor`", "rope_parameters.factor = 3", "found 2.0"];
    twice("factor", json!(3)).assert_refused("config.json", &parts);
}

#[test]
fn there_must_be_a_divisor_for_each_frequency() {
    for divisors in [json!([1.0]), json!([1, 1, 1]), json!([1, 0]), json!([1, 1e60]), json!([1, "2"]), json!(null)] {
        let settings = json!({"rope_type": "frequency_divisors"});
        let parts = ["`rope_scaling.frequency_divisors`", "2 finite numbers above 0", "found "];
        scaled(settings, "frequency_divisors", divisors).assert_refused("config.json", &parts);
    }
}
