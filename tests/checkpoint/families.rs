//! Families that attend in all layers: what their files say, and what they leave out.

use std::path::Path;

use loquent::checkpoint::{LayerType, ModelConfig, NormWeight, RopeScaling};
use serde_json::{Value, json};

use crate::parse;
use crate::tiny_checkpoint::{TinyCheckpoint, llama_config, qwen3_config, shapes, text_config};

#[test]
fn they_open_with_every_tensor_and_no_other() {
    for (config, qk_norm, tensors) in [(qwen3_config(), true, 3 + 2 * 11), (llama_config(), false, 3 + 2 * 9)] {
        let tiny = TinyCheckpoint::with_config(config);
        assert_eq!(tiny.tensors.len(), tensors);
        let checkpoint = tiny.load().unwrap();
        assert_eq!(checkpoint.left_over().count(), 0);
        let config = &checkpoint.config;
        assert_eq!((&config.delta_net, config.norm_weight), (&None, NormWeight::Factor));
        assert_eq!(config.layer_types, [LayerType::FullAttention; 2]);
        assert_eq!((config.attention.output_gate, config.attention.qk_norm), (false, qk_norm));
        assert_eq!((config.attention.rope.rotary_dim, config.attention.rope.theta), (config.attention.head_dim, 1e4));
    }
}

#[test]
fn what_is_left_out_is_what_transformers_takes() {
    let without = |mut config: Value, fields: &[&str]| {
        config.as_object_mut().unwrap().retain(|field, _| !fields.contains(&&**field));
        parse(&config)
    };
    let left_out = ["head_dim", "num_key_value_heads", "rope_theta", "tie_word_embeddings", "layer_types"];
    let qwen3 = without(qwen3_config(), &left_out).attention;
    assert_eq!((qwen3.head_dim, qwen3.num_kv_heads, qwen3.rope.theta), (128, 2, 1e4));
    let llama = without(llama_config(), &left_out);
    assert_eq!((llama.attention.head_dim, llama.attention.num_kv_heads, llama.attention.rope.theta), (4, 2, 1e4));
    assert!(!llama.tie_word_embeddings);
    // It need not be the stream's width that the heads share.
    let mut config = llama_config();
    config["head_dim"] = json!(6);
    assert_eq!(parse(&config).attention.query_dim(), 12);
}

/// The scaling of a model of 8192 positions with these settings.
fn scaling(mut config: Value, place: &str, settings: Value) -> RopeScaling {
    config.as_object_mut().unwrap().remove("rope_scaling");
    config["max_position_embeddings"] = json!(8192);
    config[place] = settings;
    parse(&config).attention.rope.scaling
}

#[test]
fn frequencies_are_scaled_in_every_family_and_wherever_it_is_said() {
    let linear = json!({"type": "linear", "factor": 2, "rope_theta": 1e4});
    for config in [qwen3_config(), llama_config(), text_config()] {
        let places: &[&str] = if config["rope_parameters"].is_null() {
            &["rope_parameters", "rope_scaling"]
        } else {
            &["rope_parameters"]
        };
        for place in places {
            let found = scaling(config.clone(), place, linear.clone());
            assert_eq!(found, RopeScaling::Linear { factor: 2.0 }, "{place}");
        }
    }
    let published = json!({"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 4096, "rope_type": "llama3"});
    let expected = |original_max_position_embeddings| RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings,
    };
    assert_eq!(scaling(llama_config(), "rope_scaling", published.clone()), expected(4096));
    let mut silent = published;
    silent["original_max_position_embeddings"] = json!(null);
    assert_eq!(scaling(llama_config(), "rope_scaling", silent), expected(8192));
}

#[test]
fn yarn_settings_that_are_left_out_follow_from_others() {
    let yarn = |settings: Value| {
        let mut all = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        match scaling(qwen3_config(), "rope_scaling", all) {
            RopeScaling::Yarn { attention_factor, beta_fast, beta_slow, truncate, .. } => {
                (attention_factor, beta_fast, beta_slow, truncate)
            }
            other => panic!("{other:?}"),
        }
    };
    let plain = 0.1 * 4f64.ln() + 1.0;
    assert_eq!(yarn(json!({})), (plain, 32.0, 1.0, true));
    assert_eq!(yarn(json!({"beta_fast": 0, "beta_slow": 0.0, "mscale": 0})), (plain, 32.0, 1.0, true));
    assert_eq!(yarn(json!({"mscale": 2.0})), (plain, 32.0, 1.0, true));
    let scaled = (0.1 * 2.0 * 4f64.ln() + 1.0) / (0.1 * 0.5 * 4f64.ln() + 1.0);
    assert_eq!(yarn(json!({"mscale": 2.0, "mscale_all_dim": 0.5})), (scaled, 32.0, 1.0, true));
    let given = json!({"attention_factor": 1.5, "mscale": 2, "mscale_all_dim": 3, "beta_fast": 8, "truncate": false});
    assert_eq!(yarn(given), (1.5, 8.0, 1.0, false));
}

#[test]
fn a_divisor_may_be_given_for_each_frequency() {
    let settings = json!({"rope_type": "frequency_divisors", "frequency_divisors": [1, 32.5]});
    assert_eq!(scaling(llama_config(), "rope_scaling", settings), RopeScaling::Divided(vec![1.0, 32.5]));
}

/// What models of these shapes are known to have.
#[test]
fn published_shapes_have_as_many_parameters_as_are_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/configs");
    for (file, layers, parameters) in [
        ("qwen3.5-0.8b.json", 24, 752_393_024),
        ("qwen3.5-2b.json", 24, 1_881_825_088),
        ("qwen3.5-4b.json", 32, 4_205_751_296),
        ("qwen3.5-9b.json", 32, 8_953_803_264),
        ("qwen3.5-27b.json", 64, 26_895_998_464),
        ("qwen3-0.6b.json", 28, 596_049_920),
        ("qwen3-1.7b.json", 28, 1_720_574_976),
        ("qwen3-4b.json", 36, 4_022_468_096),
        ("qwen3-8b.json", 36, 8_190_735_360),
        ("qwen3-14b.json", 40, 14_768_307_200),
        ("qwen3-32b.json", 64, 32_762_123_264),
        ("qwen3-30b-a3b.json", 48, 30_532_122_624),
        ("llama-3.2-1b.json", 16, 1_235_814_400),
        ("llama-3.2-3b.json", 28, 3_212_749_824),
        ("smollm2-135m.json", 30, 134_515_008),
    ] {
        let config = ModelConfig::read(&folder.join(file)).unwrap();
        let sizes = shapes(&config).into_iter().map(|(_, shape)| shape.iter().product::<usize>());
        assert_eq!((config.layer_types.len(), sizes.sum::<usize>()), (layers, parameters), "{file}");
    }
}
