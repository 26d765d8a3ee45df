//! Everything that is wrong, at once.

use std::ops::ControlFlow;
use std::path::Path;

use loquent::checkpoint::OtherModel;
use loquent::inspect::{InspectError, InspectOptions, Inspection, Purpose};
use serde_json::{Value, json};

use crate::converted::{INDEX, blocks, f16, file_name, halves, q4};
use crate::support::fixtures;
use crate::tiny_checkpoint::{TinyCheckpoint, safetensors, stored, text_config};
use crate::{MATRIX, assert_problems, inspect, messages, tensor};

const NORM: &str = "model.norm.weight";

/// Puts a value that is not a number into a tensor in F32.
fn spoil(tiny: &mut TinyCheckpoint, name: &str, element: usize) {
    let bytes = &mut tiny.tensors.get_mut(name).unwrap().bytes;
    bytes[4 * element..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
}

#[test]
fn nothing_is_wrong_with_the_fixtures_and_the_demo() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    for directory in fixtures().into_iter().chain([demo]) {
        let report = inspect(&directory, InspectOptions::default().statistics(true).histograms(true));
        assert_eq!(messages(&report.problems), [""; 0], "{}", directory.display());
        assert_eq!(messages(&report.warnings), [""; 0], "{}", directory.display());
        for tensor in &report.tensors {
            assert_eq!(tensor.statistics.is_some(), tensor.purpose.is_used(), "{}", tensor.name);
            assert!(!matches!(tensor.purpose, Purpose::LeftOver | Purpose::Unknown), "{}", tensor.name);
        }
        assert!(report.files.iter().all(|file| file.sha256.is_some()));
    }
}

#[test]
fn faults_of_different_kinds_are_all_shown() {
    let mut tiny = TinyCheckpoint::new();
    spoil(&mut tiny, MATRIX, 13);
    tiny.tensors.remove(NORM);
    tiny.tensors.insert("model.layers.3.self_attn.q_proj.weight".into(), stored(&[32, 7], 0));
    tiny.tensors.get_mut("model.layers.1.linear_attn.A_log").unwrap().dtype = "I32".into();
    tiny.write_weights();
    tiny.write("generation_config.json", r#"{"top_p": 7}"#);
    tiny.write("tokenizer.json", "[]");
    assert_problems(
        &tiny,
        &[
            &["generation_config.json", "`top_p`", "found 7"],
            &["tokenizer.json: expected a tokenizer"],
            &[NORM, "shape [8]", "no such tensor"],
            &["q_proj", "shape [32, 8]", "[32, 7]"],
            &["A_log", "F32, F16 or BF16", "found \"I32\""],
            &[MATRIX, "finite values", "NaN at element 13 (position [1, 1])"],
        ],
    );
}

#[test]
fn each_tensor_that_a_shortened_file_cuts_off_is_named_and_the_others_are_looked_at() {
    let mut tiny = TinyCheckpoint::new();
    spoil(&mut tiny, "lm_head.weight", 0);
    let bytes = safetensors(&tiny.tensors);
    // All of the last one by name, in 32 bytes, and the end of the one before it.
    tiny.write("model.safetensors", &bytes[..bytes.len() - 33]);
    let names: Vec<&String> = tiny.tensors.keys().rev().take(2).collect();
    assert_problems(
        &tiny,
        &[
            &[names[0], "data_offsets within the"],
            &[names[1], "data_offsets within the"],
            &["lm_head.weight", "NaN at element 0"],
        ],
    );
}

#[test]
fn a_shard_that_is_missing_is_one_fault_and_the_other_is_looked_at() {
    let mut tiny = TinyCheckpoint::new();
    spoil(&mut tiny, "lm_head.weight", 3);
    tiny.shard();
    tiny.remove("model-00002-of-00002.safetensors");
    let shard = ["model-00002-of-00002.safetensors", "the shard that", "no such file"];
    let report = assert_problems(&tiny, &[&shard, &["lm_head.weight", "NaN at element 3"]]);
    assert!(report.footprint(Default::default(), None, 1).is_none(), "of half a model");
}

#[test]
fn both_of_two_shards_that_are_damaged_are_named() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    tiny.write("model-00001-of-00002.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff");
    tiny.write("model-00002-of-00002.safetensors", b"{}");
    assert_problems(
        &tiny,
        &[
            &["model-00001-of-00002.safetensors", "is this a safetensors file?"],
            &["model-00002-of-00002.safetensors", "a safetensors header", "found 2 bytes"],
        ],
    );
}

#[test]
fn an_index_that_is_wrong_twice_is_refused_twice() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    let text = std::fs::read_to_string(tiny.file("model.safetensors.index.json")).unwrap();
    let mut index: Value = serde_json::from_str(&text).unwrap();
    index["weight_map"][NORM] = json!("../elsewhere.safetensors");
    index["weight_map"]["model.nowhere"] = json!("model-00001-of-00002.safetensors");
    index["weight_map"]["lm_head.weight"] = json!("model-00002-of-00002.safetensors");
    tiny.write("model.safetensors.index.json", index.to_string());
    assert_problems(
        &tiny,
        &[
            &[NORM, "the name of a file in the same directory"],
            &["model.nowhere", "no such tensor"],
            &["lm_head.weight", "found it in", "model-00001-of-00002.safetensors"],
        ],
    );
}

#[test]
fn unsound_blocks_and_files_that_are_missing_are_all_shown() {
    let (tiny, mut index) = TinyCheckpoint::converted();
    let mut matrix = blocks(96, 0).0;
    // The scale of the second block and the bias of the third: infinite.
    matrix[20..22].copy_from_slice(&0x7c00u16.to_le_bytes());
    matrix[42..44].copy_from_slice(&0xfc00u16.to_le_bytes());
    tiny.write(&file_name(MATRIX), q4(&[8, 12], &matrix));
    let up = MATRIX.replace("down", "up");
    tiny.write(&file_name(&up), &q4(&[12, 8], &blocks(96, 0).0)[..95]);
    tiny.remove(&file_name(NORM));
    let mut vector = halves(8).0;
    vector[2..4].copy_from_slice(&0x7e00u16.to_le_bytes());
    tiny.write("model_layers_0_input_layernorm_weight.f16", f16(&[8], &vector));
    let at = |index: &[Value], name: &str| index.iter().position(|entry| entry["name"] == name).unwrap();
    let (first, second) = (at(&index, "lm_head.weight"), at(&index, "model.layers.2.mlp.gate_proj.weight"));
    index[first]["numel"] = json!(7);
    index[second]["file"] = json!("/etc/passwd");
    tiny.write(INDEX, json!(index).to_string());
    assert_problems(
        &tiny,
        &[
            &["numel", "found 7"],
            &["file", "the name of a .q4 file in the same directory", "/etc/passwd"],
            // What is not in the index is not there.
            &["lm_head.weight", "no such tensor"],
            &["layers.2.mlp.gate_proj.weight", "no such tensor"],
            &[&file_name(NORM), "no such file"],
            &[&file_name(&up), "60 bytes behind the header"],
            &["input_layernorm", "finite values", "NaN at element 1"],
            // One for a tensor: the first.
            &[MATRIX, "found inf in block 1 (elements from 32 on)"],
        ],
    );
}

#[test]
fn values_are_named_by_their_place_in_tensors_that_are_read_in_many_pieces() {
    const ROWS: usize = 1 << 17;
    let mut config = text_config();
    config["hidden_size"] = json!(64);
    let tiny = TinyCheckpoint::with_config(config).with_field("vocab_size", json!(ROWS));
    tiny.convert();
    let index = std::fs::read_to_string(tiny.file(INDEX)).unwrap();
    let mut index: Vec<Value> = serde_json::from_str(&index).unwrap();
    let shape = [ROWS as u64, 64];
    for entry in &mut index {
        if entry["shape"][0] == 272 {
            (entry["shape"], entry["numel"]) = (json!(shape), json!(64 * ROWS));
        }
    }
    tiny.write(INDEX, json!(index).to_string());
    let (mut bytes, _) = blocks(64 * ROWS, 0);
    tiny.write(&file_name("lm_head.weight"), q4(&shape, &bytes));
    // The last block but one, in the second piece.
    let block = 2 * ROWS - 2;
    bytes[20 * block..][..2].copy_from_slice(&[0, 0]);
    tiny.write(&file_name("model.embed_tokens.weight"), q4(&shape, &bytes));
    let place = format!("found 0 in block {block} (elements from {} on)", 32 * block);
    assert_problems(&tiny, &[&["embed_tokens", &place]]);
}

#[test]
fn a_multi_token_head_is_used_and_looked_at_like_the_rest() {
    let mut tiny = TinyCheckpoint::with_mtp();
    let report = assert_problems(&tiny, &[]);
    assert!(report.tensors.iter().all(|tensor| tensor.purpose.is_used()));
    assert_eq!(tensor(&report, "mtp.fc.weight").purpose, Purpose::Matrix);
    assert_eq!(tensor(&report, "mtp.norm.weight").purpose, Purpose::Vector);
    spoil(&mut tiny, "mtp.fc.weight", 4);
    tiny.write_weights();
    assert_problems(&tiny, &[&["mtp.fc.weight", "NaN at element 4"]]);
    tiny.tensors.remove("mtp.fc.weight").unwrap();
    tiny.write_weights();
    assert_problems(&tiny, &[&["mtp.fc.weight", "no such tensor"]]);
}

#[test]
fn tensors_that_the_model_does_not_want_are_listed_and_no_problem() {
    let mut tiny = TinyCheckpoint::multimodal();
    let names = ["model.visual.blocks.0.attn.weight", "mtp.layers.1.mlp.up_proj.weight", "model.surplus"];
    let embedding = tiny.tensors["model.language_model.embed_tokens.weight"].clone();
    tiny.tensors.insert("lm_head.weight".into(), embedding);
    for name in names {
        tiny.tensors.insert(name.into(), stored(&[3, 5], 1));
        spoil(&mut tiny, name, 4);
    }
    tiny.write_weights();
    let report = assert_problems(&tiny, &[]);
    let purposes =
        [Purpose::Other(OtherModel::VisionTower), Purpose::Other(OtherModel::MultiTokenHead), Purpose::LeftOver];
    assert_eq!(tensor(&report, "lm_head.weight").purpose, Purpose::TiedHead);
    let warnings = messages(&report.warnings);
    for (name, purpose) in names.into_iter().zip(purposes) {
        let found = tensor(&report, name);
        assert_eq!((found.purpose, &*found.entry.shape, found.entry.bytes), (purpose, &[3, 5][..], Some(60)));
        assert!(warnings.iter().any(|warning| warning.contains(name) && warning.contains("NaN at element 4")));
    }
    // One more says that the head is left out.
    assert_eq!(warnings.len(), names.len() + 1, "{warnings:#?}");
    let used = report.tensors.iter().filter(|tensor| tensor.purpose.is_used()).count();
    assert_eq!(used, tiny.tensors.len() - names.len() - 1);
    assert_eq!(tensor(&report, "model.language_model.norm.weight").purpose, Purpose::Vector);
    assert_eq!(tensor(&report, "model.language_model.embed_tokens.weight").purpose, Purpose::Matrix);
}

#[test]
fn a_stored_head_that_is_not_the_embedding_is_used_and_warned_of() {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.tensors.insert("lm_head.weight".into(), stored(&[272, 8], 99));
    tiny.write_weights();
    let report = assert_problems(&tiny, &[]);
    assert_eq!(tensor(&report, "lm_head.weight").purpose, Purpose::Matrix);
    let warnings = messages(&report.warnings);
    assert!(warnings.len() == 1 && warnings[0].contains("lm_head.weight"), "{warnings:?}");
    assert!(warnings[0].contains("embed_tokens.weight") && warnings[0].contains("tie_word_embeddings"), "{warnings:?}");

    spoil(&mut tiny, "lm_head.weight", 4);
    tiny.write_weights();
    assert_problems(&tiny, &[&["lm_head.weight", "NaN at element 4"]]);
}

#[test]
fn what_has_no_effect_is_listed() {
    let tiny = TinyCheckpoint::new().with_field("mlp_bias", json!(true));
    tiny.write("adapter_config.json", "{}");
    let warnings = messages(&assert_problems(&tiny, &[]).warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("`mlp_bias`") && warnings[1].contains("adapter_config.json"), "{warnings:?}");
}

#[test]
fn two_text_models_in_one_checkpoint_are_one_problem() {
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.insert("model.language_model.embed_tokens.weight".into(), stored(&[272, 8], 3));
    tiny.write_weights();
    assert_problems(&tiny, &[&["model.embed_tokens.weight", "model.language_model.embed_tokens.weight", "as well"]]);
}

#[test]
fn weights_are_looked_at_without_a_configuration_too() {
    let mut tiny = TinyCheckpoint::new();
    spoil(&mut tiny, MATRIX, 1);
    tiny.write_weights();
    tiny.remove("config.json");
    let report = assert_problems(&tiny, &[&["config.json", "no such file"]]);
    assert_eq!(report.tensors.len(), tiny.tensors.len());
    assert!(report.tensors.iter().all(|tensor| tensor.purpose == Purpose::Unknown));
    assert!(messages(&report.warnings)[0].contains("NaN at element 1 (position [0, 1])"), "{:?}", report.warnings);
}

#[test]
fn a_chat_template_that_cannot_be_used_is_a_warning() {
    let tiny = TinyCheckpoint::new();
    tiny.write("chat_template.jinja", "{% if %}");
    let report = assert_problems(&tiny, &[]);
    assert!(messages(&report.warnings)[0].contains("chat template: "), "{:?}", report.warnings);
}

#[test]
fn what_is_no_directory_is_an_error() {
    let tiny = TinyCheckpoint::new();
    for (path, expected) in
        [("absent", "cannot open"), ("config.json", "expected a checkpoint's directory or a GGUF file, found")]
    {
        let error = Inspection::plan(&tiny.file(path)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // An empty one has everything missing.
    let empty = tempfile::TempDir::new().unwrap();
    let problems = messages(&inspect(empty.path(), InspectOptions::default()).problems);
    assert!(problems.len() == 2 && problems[1].contains("the weights here"), "{problems:#?}");
}

#[test]
fn progress_reaches_the_end_or_stops_where_it_is_told_to() {
    let tiny = TinyCheckpoint::new();
    let mut seen = Vec::new();
    let run = Inspection::plan(tiny.path()).unwrap().run(InspectOptions::default(), |progress| {
        seen.push((progress.done, progress.total));
        ControlFlow::Continue(())
    });
    let report = run.unwrap();
    let total: u64 = report.files.iter().map(|file| file.bytes).sum();
    assert_eq!(seen.last(), Some(&(total, total)));
    assert!(seen.is_sorted());
    let stopped = Inspection::plan(tiny.path()).unwrap().run(InspectOptions::default(), |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(InspectError::Stopped)));
}
