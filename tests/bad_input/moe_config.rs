//! `config.json` of mixtures of experts, and tensors that are not as many experts as it says.

use std::path::Path;

use loquent::checkpoint::{Checkpoint, ModelConfig};
use loquent::world::promised::promised_tensors;
use serde_json::{Value, json};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn config(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name).join("config.json")).unwrap()).unwrap()
}

/// Asserts that a value of a field of the text model is refused with these words.
#[track_caller]
fn assert_refused(name: &str, field: &str, value: Value, parts: &[&str]) {
    let mut config = config(name);
    let text = if config.get("text_config").is_some() { &mut config["text_config"] } else { &mut config };
    text[field] = value;
    let error = ModelConfig::from_json("config.json".as_ref(), &config.to_string()).unwrap_err().to_string();
    for part in parts.iter().chain([&field]) {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn experts_are_counted_and_measured() {
    for name in ["qwen3-moe", "moe-published"] {
        for value in [json!(0), json!(-1), json!("8"), json!(1_000_000)] {
            let found = format!("found {value}");
            assert_refused(name, "num_experts_per_tok", value.clone(), &["an integer from 1 to 1024", &found]);
        }
        assert_refused(name, "num_experts_per_tok", json!(9), &["at most num_experts = 8", "found 9"]);
        assert_refused(name, "num_experts", json!(4096), &["an integer from 1 to 1024"]);
        assert_refused(name, "moe_intermediate_size", json!(0), &["an integer from 1 to"]);
    }
    assert_refused("qwen3-moe", "num_local_experts", json!(9), &["8, as num_experts says"]);
    assert_refused("moe-published", "shared_expert_intermediate_size", json!(null), &["found null"]);
    assert_refused("qwen3-moe", "intermediate_size", json!(null), &["found null"]);
    assert_refused("qwen3-moe", "norm_topk_prob", json!("yes"), &["true or false"]);
}

#[test]
fn layers_without_experts_are_layers_of_the_model() {
    for value in [json!([4]), json!([-1]), json!(["0"]), json!([0.5])] {
        assert_refused("qwen3-moe", "mlp_only_layers", value, &["below num_hidden_layers = 4"]);
    }
    assert_refused("qwen3-moe", "decoder_sparse_step", json!(0), &["an integer from 1 to"]);
    let read = ModelConfig::read(&fixture("qwen3-moe").join("config.json")).unwrap();
    assert_eq!(read.moe.unwrap().layers, [false, true, false, false]);
}

#[test]
fn experts_that_share_a_tensor_are_as_many_as_the_configuration_says() {
    for (field, value, expected) in [
        ("num_experts", 7, "7 experts, as the configuration says, found shape [8, 64, 64]"),
        ("moe_intermediate_size", 16, "shape [16, 64], found [32, 64]"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("moe-published").join("model.safetensors"), folder.path().join("model.safetensors"))
            .unwrap();
        let mut config = config("moe-published");
        config["text_config"][field] = json!(value);
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let mut checkpoint = Checkpoint::open(folder.path()).unwrap();
        let experts =
            promised_tensors(&checkpoint.config.clone()).into_iter().filter(|tensor| tensor.name.contains(".experts."));
        let error = experts.map(|tensor| checkpoint.take(&tensor.name, &tensor.shape)).find_map(Result::err).unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("experts.gate_up_proj"), "{error}");
    }
}
