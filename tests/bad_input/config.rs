//! `config.json`: fields that are missing, out of range, at odds with each other, or ask for what is not implemented.

use serde_json::{Value, json};

use crate::tiny_checkpoint::TinyCheckpoint;

/// Asserts that this value of a field is refused with these words.
#[track_caller]
fn assert_field_refused(field: &str, value: Value, parts: &[&str]) {
    let tiny = TinyCheckpoint::new().with_field(field, value);
    tiny.assert_refused("config.json", &[&[&*format!("`{field}`")], parts].concat());
}

const SIZES: [&str; 13] = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_conv_kernel_dim",
    "max_position_embeddings",
];

#[test]
fn every_size_must_be_there() {
    for field in SIZES.into_iter().chain(["rms_norm_eps", "model_type"]) {
        let tiny = TinyCheckpoint::new().without_field(field);
        tiny.assert_refused("config.json", &[&format!("`{field}`"), "found nothing"]);
    }
}

#[test]
fn no_size_may_be_anything_but_a_positive_integer() {
    for field in SIZES {
        for value in [
            json!(0),
            json!(-1),
            json!("1024"),
            json!(1024.5),
            json!(1e18),
            json!(1_000_000_000_000_000_000u64),
            json!(u64::MAX),
            json!(null),
            json!([8]),
            json!({}),
            json!(true),
        ] {
            let found = if value.is_object() { "found an object".to_owned() } else { format!("found {value}") };
            assert_field_refused(field, value, &["expected an integer from 1 to", &found]);
        }
    }
}

#[test]
fn a_number_that_no_float_can_hold_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.write("config.json", tiny.config.to_string().replace("1e-6", "1e999"));
    tiny.assert_refused("config.json", &["expected JSON, found number out of range at line 1"]);
}

#[test]
fn numbers_that_must_be_finite_are_refused_by_name_where_python_wrote_that_they_are_not() {
    let tiny = TinyCheckpoint::new();
    let text = tiny.config.to_string();
    for word in ["NaN", "Infinity", "-Infinity"] {
        let found = format!("found {word}");
        for (field, value, named) in [
            ("rms_norm_eps", "1e-6", "`rms_norm_eps`"),
            ("rope_theta", "10000.0", "`rope_parameters.rope_theta`"),
            ("hidden_size", "8", "`hidden_size`"),
            ("hidden_act", "\"silu\"", "`hidden_act`"),
            ("model_type", "\"qwen3_5_text\"", "`model_type`"),
            ("eos_token_id", "263", "`eos_token_id`"),
            ("tie_word_embeddings", "false", "`tie_word_embeddings`"),
        ] {
            let changed = text.replace(&format!("\"{field}\":{value}"), &format!("\"{field}\":{word}"));
            assert_ne!(changed, text, "{field}");
            tiny.write("config.json", changed);
            tiny.assert_refused("config.json", &[named, &found]);
        }
    }
}

#[test]
fn a_syntax_error_is_not_said_to_be_a_name_used_twice() {
    let tiny = TinyCheckpoint::new();
    for text in
        ["{", "{\"a\": Infinite}", "{\"a\": NaN2}", "{\"a\": \"NaN}", "{'a': 1}", "{\"a\": None}", "\u{feff}\u{feff}{}"]
    {
        tiny.write("config.json", text);
        tiny.assert_refused("config.json", &["expected JSON, found ", "line 1 column"]);
    }
}

#[test]
fn rms_norm_eps_must_be_positive_and_finite() {
    for value in [json!(0), json!(0.0), json!(-1e-6), json!(1e-60), json!(1e60), json!("1e-6")] {
        let found = format!("found {value}");
        assert_field_refused("rms_norm_eps", value, &["above 0", &found]);
    }
}

#[test]
fn head_counts_that_do_not_divide_name_both() {
    let tiny =
        TinyCheckpoint::new().with_field("num_attention_heads", json!(3)).with_field("num_key_value_heads", json!(2));
    tiny.assert_refused("config.json", &["`num_attention_heads`", "a multiple of num_key_value_heads = 2", "found 3"]);
    let tiny = TinyCheckpoint::new().with_field("linear_num_key_heads", json!(3));
    tiny.assert_refused(
        "config.json",
        &["`linear_num_value_heads`", "a multiple of linear_num_key_heads = 3", "found 2"],
    );
}

#[test]
fn layer_types_must_be_known_and_as_many_as_layers() {
    assert_field_refused("layer_types", json!(["full_attention"]), &["num_hidden_layers = 4", "found 1"]);
    assert_field_refused("layer_types", json!([]), &["num_hidden_layers = 4", "found 0"]);
    let unknown = json!(["linear_attention", "mamba", "linear_attention", "full_attention"]);
    assert_field_refused("layer_types", unknown, &["\"linear_attention\" or \"full_attention\"", "\"mamba\""]);
    assert_field_refused("layer_types", json!([1, 2, 3, 4]), &["found 1"]);
    assert_field_refused("layer_types", json!("full_attention"), &["an array"]);
}

#[test]
fn layer_types_must_agree_with_the_interval() {
    assert_field_refused_with_interval(json!(2), "for layer 1");
    let tiny = TinyCheckpoint::new().with_field("full_attention_interval", json!(0));
    tiny.assert_refused("config.json", &["`full_attention_interval`", "from 1", "found 0"]);
}

#[track_caller]
fn assert_field_refused_with_interval(interval: Value, part: &str) {
    let tiny = TinyCheckpoint::new().with_field("full_attention_interval", interval);
    tiny.assert_refused("config.json", &["`layer_types`", "full_attention_interval = 2", part, "linear_attention"]);
}

#[test]
fn the_rotated_part_of_a_head_must_be_even_and_within_it() {
    for (factor, found) in [(0.4, "which is 3"), (0.01, "which is 0"), (1.0 / 7.0, "which is 1")] {
        let rope = json!({"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": factor});
        let tiny = TinyCheckpoint::new().with_field("rope_parameters", rope);
        tiny.assert_refused("config.json", &["`rope_parameters.partial_rotary_factor`", "even and above 0", found]);
    }
    for factor in [json!(1.5), json!(0), json!(-0.25), json!("0.25")] {
        let found = format!("found {factor}");
        let rope = json!({"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": factor});
        let tiny = TinyCheckpoint::new().with_field("rope_parameters", rope);
        tiny.assert_refused("config.json", &["`rope_parameters.partial_rotary_factor`", "at most 1", &found]);
    }
}

#[test]
fn rope_theta_must_be_there_and_positive() {
    for theta in [json!(0), json!(-1e4), json!("1e4"), json!(null)] {
        let found = format!("found {theta}");
        let rope = json!({"rope_type": "default", "rope_theta": theta});
        let tiny = TinyCheckpoint::new().with_field("rope_parameters", rope);
        tiny.assert_refused("config.json", &["`rope_parameters.rope_theta`", "a finite number above 0", &found]);
    }
    let tiny = TinyCheckpoint::new().without_field("rope_parameters");
    tiny.assert_refused("config.json", &["`rope_theta`", "found nothing"]);
}

#[test]
fn rope_settings_in_two_places_must_agree() {
    let tiny = TinyCheckpoint::new().with_field("rope_theta", json!(5e5));
    tiny.assert_refused("config.json", &["`rope_parameters.rope_theta`", "rope_theta = 500000.0", "found 10000.0"]);
    let tiny = TinyCheckpoint::new().with_field("partial_rotary_factor", json!(0.5));
    tiny.assert_refused("config.json", &["`rope_parameters.partial_rotary_factor`", "= 0.5", "found 0.25"]);
    let tiny = TinyCheckpoint::new().with_field("rope_scaling", json!({"rope_theta": 1e6}));
    tiny.assert_refused("config.json", &["`rope_scaling.rope_theta`", "10000.0", "found 1000000.0"]);
}

#[test]
fn rope_types_that_are_not_implemented_are_refused() {
    for (place, field) in [("rope_parameters", "rope_type"), ("rope_scaling", "type"), ("rope_scaling", "rope_type")] {
        for kind in ["dynamic", "longrope", "ntk", "mrope"] {
            let mut tiny = TinyCheckpoint::new();
            tiny.config["rope_parameters"] = json!(null);
            let tiny = tiny.with_field(place, json!({"rope_theta": 1e4, "factor": 4.0, field: kind}));
            let found = format!("found {kind:?}");
            let expected = "\"default\", \"linear\", \"llama3\" or \"yarn\"";
            tiny.assert_refused("config.json", &[&format!("`{place}.{field}`"), expected, &found]);
        }
    }
}

#[test]
fn what_is_not_implemented_is_refused() {
    for (field, value, expected) in [
        ("hidden_act", json!("gelu"), "\"silu\""),
        ("hidden_act", json!(7), "\"silu\""),
        ("output_gate_type", json!("sigmoid"), "\"silu\""),
        ("attention_bias", json!(true), "false"),
        ("attn_output_gate", json!(false), "true"),
        ("num_experts", json!(64), "0"),
        ("num_local_experts", json!(8), "0"),
        ("is_causal", json!(false), "true"),
    ] {
        let found = format!("found {value}");
        assert_field_refused(field, value, &[&format!("expected {expected}"), &found]);
    }
    let quantised = json!({"quant_method": "fp8"});
    let way_out = "convert the BF16 checkpoint";
    assert_field_refused("quantization_config", quantised, &["no such field", way_out, "found an object"]);
}

#[test]
fn a_quantised_multimodal_checkpoint_is_refused_wherever_it_says_so() {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.config["quantization_config"] = json!({"quant_method": "fp8"});
    tiny.write_config();
    tiny.assert_refused("config.json", &["`quantization_config`", "found an object"]);
}

#[test]
fn unknown_architectures_are_refused() {
    let known =
        "\"llama\", \"qwen3\", \"qwen3_moe\", \"qwen3_5\", \"qwen3_5_text\", \"qwen3_5_moe\" or \"qwen3_5_moe_text\"";
    assert_field_refused("model_type", json!("mistral"), &[known, "found \"mistral\""]);
    assert_field_refused("model_type", json!(3), &["a string", "found 3"]);
    let found = "found \"Qwen3_5ForSequenceClassification\"";
    assert_field_refused("architectures", json!(["Qwen3_5ForSequenceClassification"]), &["Qwen3_5ForCausalLM", found]);
    let tiny = TinyCheckpoint::multimodal().with_field("model_type", json!("llama"));
    tiny.assert_refused("config.json", &["`text_config.model_type`", "\"qwen3_5_text\"", "found \"llama\""]);
}

#[test]
fn the_layouts_may_not_be_mixed() {
    let tiny = TinyCheckpoint::new().with_field("model_type", json!("qwen3_5"));
    tiny.assert_refused("config.json", &["`text_config`", "the text model's fields", "found nothing"]);
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.config["text_config"] = json!(null);
    tiny.write_config();
    tiny.assert_refused("config.json", &["`text_config`", "the text model's fields", "found null"]);
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.config["model_type"] = json!("qwen3_5_text");
    tiny.write_config();
    tiny.assert_refused("config.json", &["`text_config`", "no such field", "found an object"]);
}

#[test]
fn fields_of_the_nested_text_model_are_named_in_full() {
    let tiny = TinyCheckpoint::multimodal().with_field("hidden_size", json!(0));
    tiny.assert_refused("config.json", &["`text_config.hidden_size`", "found 0"]);
}

#[test]
fn end_tokens_must_be_in_the_vocabulary() {
    for value in [json!(272), json!([257, 272]), json!(-1), json!("257"), json!([[257]]), json!(4_294_967_296u64)] {
        assert_field_refused("eos_token_id", value, &["token ids below vocab_size = 272"]);
    }
}

#[test]
fn tie_word_embeddings_must_be_a_flag() {
    assert_field_refused("tie_word_embeddings", json!("true"), &["true or false", "found \"true\""]);
}
