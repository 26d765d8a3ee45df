//! Checkpoints with a rotated residual stream.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use loquent::checkpoint::Checkpoint;
use loquent::convert::{Conversion, ConvertError, ConvertOptions, Method, QuaRot};
use loquent::quant::{Block, Encoding, Rotation, Search, quantize};
use serde_json::{Value, json};

use crate::command::{run, stdout};
use crate::refusals::{assert_fails_with, assert_refused, with_element};
use crate::tiny_checkpoint::{Stored, TinyCheckpoint, llama_config, qwen3_config, text_config};
use crate::{content, convert, entries, place};

fn quarot(seed: u64) -> ConvertOptions {
    ConvertOptions::of(Method::QuaRot(QuaRot::of(seed)))
}

/// As other programs write it.
fn symmetric(seed: u64) -> ConvertOptions {
    quarot(seed).encoding(Encoding::Symmetric).search(Search::MinMax)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a fixture without the answers beside them.
fn converted(name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = content(&fixture(name));
    files.retain(|file, _| !file.to_str().unwrap().starts_with("golden"));
    assert!(files.len() > 50, "{name} has {} files", files.len());
    files
}

#[track_caller]
fn assert_same(found: &BTreeMap<PathBuf, Vec<u8>>, expected: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(found.keys().eq(expected.keys()), "{:?} in place of {:?}", found.keys(), expected.keys());
    for (file, bytes) in expected {
        assert!(found[file] == *bytes, "{} differs", file.display());
    }
}

#[test]
fn symmetric_directories_are_those_of_another_program_to_the_byte() {
    for (source, expected, seed) in
        [("published-f16", "quarot-published", 0), ("sharded-bf16", "quarot-sharded", 0xc0_ffee)]
    {
        let (_folder, out) = place();
        let report = convert(&fixture(source), &out, symmetric(seed)).unwrap();
        assert_same(&content(&out), &converted(expected));
        assert!(report.logit_difference.is_some_and(|difference| difference < 1e-11), "{report:?}");

        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = symmetric(seed).replace(true);
        assert_eq!(one_thread.install(|| convert(&fixture(source), &out, again)).unwrap(), report);
        assert_same(&content(&out), &converted(expected));
    }
}

/// The elements of a tensor in F32.
fn values(tiny: &TinyCheckpoint, name: &str) -> Vec<f64> {
    tiny.tensors[name].bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect()
}

#[test]
fn by_default_codes_are_asymmetric_and_scales_are_searched_for() {
    let tiny = TinyCheckpoint::new();
    let (_folder, out) = place();
    convert(tiny.path(), &out, quarot(5)).unwrap();
    let rotation = Rotation::new(5, 8).unwrap();

    let norm = values(&tiny, "model.layers.1.post_attention_layernorm.weight");
    let mut reads = values(&tiny, "model.layers.1.mlp.up_proj.weight");
    reads.iter_mut().zip(norm.iter().cycle()).for_each(|(weight, norm)| *weight *= 1.0 + norm);
    rotation.rotate_rows(&mut reads);
    let mut writes = values(&tiny, "model.layers.1.mlp.down_proj.weight");
    rotation.rotate_columns(&mut writes, 12);
    for (name, weights) in [("up", reads), ("down", writes)] {
        let blocks = quantize(&weights, Encoding::Asymmetric, Search::LeastSquares).unwrap();
        let file = fs::read(out.join(format!("model_layers_1_mlp_{name}_proj_weight.q4"))).unwrap();
        assert!(file[36..] == *bytemuck::cast_slice::<Block, u8>(&blocks), "{name}");
    }
}

#[test]
fn norms_that_multiply_by_their_weight_become_ones_and_others_zeros() {
    for (config, shift, one) in
        [(text_config(), 1.0, 0u16), (qwen3_config(), 0.0, 0x3c00), (llama_config(), 0.0, 0x3c00)]
    {
        let tiny = TinyCheckpoint::with_config(config);
        let (_folder, out) = place();
        convert(tiny.path(), &out, quarot(5)).unwrap();
        for name in ["norm", "layers_0_input_layernorm", "layers_1_post_attention_layernorm"] {
            let file = fs::read(out.join(format!("model_{name}_weight.f16"))).unwrap();
            assert!(file[28..] == *one.to_le_bytes().repeat(8), "{name}: {:?}", &file[28..]);
        }
        let norm = values(&tiny, "model.norm.weight");
        let mut head = values(&tiny, "lm_head.weight");
        head.iter_mut().zip(norm.iter().cycle()).for_each(|(weight, norm)| *weight *= shift + norm);
        Rotation::new(5, 8).unwrap().rotate_rows(&mut head);
        let blocks = quantize(&head, Encoding::Asymmetric, Search::LeastSquares).unwrap();
        assert!(fs::read(out.join("lm_head_weight.q4")).unwrap()[36..] == *bytemuck::cast_slice::<Block, u8>(&blocks));
    }
}

#[test]
fn columns_are_rotated_in_any_width() {
    // Panels that are full, that are not, and more than a run of elements.
    for width in [1, 15, 16, 17, 33, 2100] {
        let mut config = text_config();
        config["intermediate_size"] = json!(width);
        let tiny = TinyCheckpoint::with_config(config);
        let (_folder, out) = place();
        convert(tiny.path(), &out, symmetric(9)).unwrap();
        let mut weights = values(&tiny, "model.layers.3.mlp.down_proj.weight");
        Rotation::new(9, 8).unwrap().rotate_columns(&mut weights, width);
        let blocks = quantize(&weights, Encoding::Symmetric, Search::MinMax).unwrap();
        let file = fs::read(out.join("model_layers_3_mlp_down_proj_weight.q4")).unwrap();
        assert!(file[36..] == *bytemuck::cast_slice::<Block, u8>(&blocks), "{width}");
    }
}

#[test]
fn the_seed_decides_and_is_kept() {
    let tiny = TinyCheckpoint::multimodal();
    let mut embeddings = Vec::new();
    for seed in [0, 1, u64::MAX] {
        let (_folder, out) = place();
        convert(tiny.path(), &out, quarot(seed)).unwrap();
        let json = |file| serde_json::from_slice::<Value>(&fs::read(out.join(file)).unwrap()).unwrap();
        let (config, index) = (json("config.json"), json("quantize_index.json"));
        assert_eq!(config["quarot_rotation_seed"], seed);
        assert_eq!(config["text_config"]["quarot_rotation_seed"], seed);
        assert_eq!(index["quarot_seed"], seed);
        assert_eq!(index["tensors"].as_array().unwrap().len(), tiny.tensors.len() + 1);
        let config = Checkpoint::open(&out).unwrap().config;
        assert_eq!((config.rotation_seed, config.tie_word_embeddings), (Some(seed), false));
        embeddings.push(fs::read(out.join("model_language_model_embed_tokens_weight.q4")).unwrap());
        // The two were one, and the final norm is in one of them.
        assert_ne!(embeddings.last(), Some(&fs::read(out.join("lm_head_weight.q4")).unwrap()));
    }
    embeddings.dedup();
    assert_eq!(embeddings.len(), 3);
}

#[test]
fn a_rotated_model_tells_the_story_that_the_original_tells() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let (_folder, out) = place();
    stdout(&run(&demo, &out, &["--method", "quarot", "--seed", "3"]));
    let story = |model: &Path, options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
        command.args(["generate", "-m"]).arg(model).args(["--temp", "0", "-n", "24", "--backend", "cpu"]).args(options);
        stdout(&command.arg("Once upon a time").output().unwrap()).to_owned()
    };
    let expected = story(&demo, &[]);
    assert!(expected.len() > 80, "{expected}");
    assert_eq!(story(&out, &["--exact"]), expected);
    assert_eq!(story(&out, &[]), expected);
}

#[test]
fn only_powers_of_two_are_rotated() {
    for size in [12, 24] {
        let mut config = text_config();
        config["hidden_size"] = json!(size);
        let tiny = TinyCheckpoint::with_config(config);
        let (_folder, out) = place();
        let found = format!("found {size}");
        assert_refused(tiny.path(), &out, quarot(0), &["config.json", "hidden_size", "a power of two", &found]);
        convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    }
}

#[test]
fn what_is_rotated_already_is_not_rotated_again() {
    for tiny in [TinyCheckpoint::new(), TinyCheckpoint::multimodal()] {
        let tiny = tiny.with_field("quarot_rotation_seed", json!(0));
        let (_folder, out) = place();
        assert_refused(tiny.path(), &out, quarot(0), &["config.json", "quarot_rotation_seed", "found 0"]);
    }
    let (_folder, out) = place();
    let rotated = fixture("quarot-sharded");
    assert_refused(&rotated, &out, quarot(0), &["quantize_index.json", "converted"]);
}

#[test]
fn tensors_are_all_there_and_all_known() {
    let (_folder, out) = place();
    for name in ["lm_head.weight", "model.norm.weight", "model.layers.2.input_layernorm.weight"] {
        let mut tiny = TinyCheckpoint::new();
        tiny.tensors.remove(name).unwrap();
        tiny.write_weights();
        assert_refused(tiny.path(), &out, quarot(0), &[name, "no such tensor"]);
    }
    let unknown = "model.layers.0.mlp.up_proj.bias";
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.insert(unknown.into(), Stored { dtype: "F32".into(), shape: vec![12], bytes: vec![0; 48] });
    tiny.write_weights();
    assert_refused(tiny.path(), &out, quarot(0), &[unknown, "beside the residual stream"]);
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_named_before_they_spread() {
    for (name, shown) in [
        ("model.layers.3.mlp.down_proj.weight", "element 41"),
        ("model.layers.3.mlp.up_proj.weight", "element 41"),
        ("lm_head.weight", "element 41"),
        // No probe comes by this row: it is found when it is converted.
        ("model.embed_tokens.weight", "element 41"),
    ] {
        let tiny = with_element(name, 41, f32::NAN);
        assert_fails_with(&tiny, quarot(0), &["model.safetensors", name, "finite", "NaN", shown]);
    }
    let name = "model.layers.3.input_layernorm.weight";
    let tiny = with_element(name, 3, f32::INFINITY);
    assert_fails_with(&tiny, quarot(0), &["model.safetensors", name, "finite", "inf", "element 3"]);
}

#[test]
fn logits_that_are_not_within_the_tolerance_leave_the_old_directory_as_it_was() {
    let tiny = TinyCheckpoint::new();
    let with = |tolerance| ConvertOptions::of(Method::QuaRot(QuaRot::of(0).tolerance(tolerance)));
    for (tolerance, shown) in [(1e-300, "within 1e-300 of"), (0.0, "within 0e0 of"), (f64::NAN, "within NaN of")] {
        let name = tiny.path().file_name().unwrap().to_str().unwrap();
        assert_fails_with(&tiny, with(tolerance), &[name, "logits of the rotated model", shown, "found ", "e-1"]);
    }
    let (_folder, out) = place();
    convert(tiny.path(), &out, with(1e-9)).unwrap();
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_and_writes_nothing_before_all_is_checked() {
    let tiny = TinyCheckpoint::multimodal();
    let (folder, out) = place();
    // Two passes over all matrices to check, then one to convert.
    let progress = |share: f64| {
        let mut steps = Vec::new();
        let conversion = Conversion::plan(tiny.path(), &out, quarot(0)).unwrap();
        let result = conversion.run(|progress| {
            steps.push((progress.done, progress.total, !entries(folder.path()).is_empty()));
            if progress.done as f64 >= share * progress.total as f64 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        (steps, result)
    };
    for share in [0.0, 0.4, 0.8, 1.0] {
        let (_, result) = progress(share);
        assert!(matches!(result, Err(ConvertError::Stopped)), "{share}: {result:?}");
        assert!(entries(folder.path()).is_empty(), "{share}");
    }
    let (steps, result) = progress(f64::INFINITY);
    result.unwrap();
    let total = steps[0].1;
    assert!(steps.iter().all(|step| step.1 == total) && steps.last().unwrap().0 == total);
    assert!(steps.is_sorted());
    let first_written = steps.iter().find(|step| step.2).unwrap().0;
    assert!(steps.iter().all(|step| step.2 == (step.0 >= first_written)));
    assert!((total / 2..total).contains(&first_written), "{first_written} of {total}");
}

#[test]
fn options_are_those_of_the_library() {
    let tiny = TinyCheckpoint::multimodal();
    let files = |options: &[&str]| {
        let (_folder, out) = place();
        stdout(&run(tiny.path(), &out, &[&["--method", "quarot"], options].concat()));
        content(&out)
    };
    let of_library = |options| {
        let (_folder, out) = place();
        convert(tiny.path(), &out, options).unwrap();
        content(&out)
    };
    let default = files(&[]);
    assert_same(&default, &of_library(quarot(0)));
    assert_same(&files(&["--seed", "0", "--scale", "mse", "--encoding", "asymmetric"]), &default);
    assert_same(&files(&["--seed", "7", "--encoding", "symmetric"]), &of_library(symmetric(7)));
    let index: Value =
        serde_json::from_slice(&files(&["-s", "18446744073709551615"])[Path::new("quantize_index.json")]).unwrap();
    assert_eq!(index["quarot_seed"], u64::MAX);
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    let bad: [&[&str]; 9] = [
        &["--seed", "-1"],
        &["--seed", "18446744073709551616"],
        &["--seed", "any"],
        &["--tolerance=-1"],
        &["--tolerance", "nan"],
        &["--tolerance", "inf"],
        &["--tolerance", "little"],
        &["--method", "q4", "--seed", "1"],
        &["--method", "q4", "--tolerance", "1e-5"],
    ];
    for options in bad {
        let method: &[&str] = if options[0] == "--method" { &[] } else { &["--method", "quarot"] };
        let output = run(tiny.path(), &out, &[method, options].concat());
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{options:?}");
    }
    let output = run(tiny.path(), &out, &["--method", "quarot", "--tolerance", "0"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
    assert!(message.contains("within 0e0 of the original's, found "), "{message}");
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn a_dry_run_says_what_a_rotation_would_write() {
    let tiny = TinyCheckpoint::multimodal();
    let (folder, out) = place();
    let options = ["--method", "quarot", "--json"];
    let dry: Value =
        serde_json::from_str(stdout(&run(tiny.path(), &out, &[&options[..], &["--dry-run"]].concat()))).unwrap();
    assert!(entries(folder.path()).is_empty());
    let wet: Value = serde_json::from_str(stdout(&run(tiny.path(), &out, &options))).unwrap();
    for field in ["tensors", "source_bytes", "written_bytes"] {
        assert_eq!(dry["total"][field], wet["total"][field], "{field}");
    }
    assert_eq!(wet["total"]["tensors"], tiny.tensors.len() + 1);
    assert!(dry["logit_difference"].is_null() && wet["logit_difference"].as_f64().unwrap() < 1e-11, "{wet}");
    let table = run(tiny.path(), &out, &["--method", "quarot", "--force"]);
    assert!(stdout(&table).contains("\nrotated, its logits are within "), "{}", stdout(&table));
}
