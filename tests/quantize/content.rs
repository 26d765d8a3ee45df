//! What a converted directory holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use loquent::checkpoint::{Checkpoint, LayerType, ModelConfig};
use loquent::convert::{ConvertOptions, Method, QuaRot};
use loquent::quant::{Block, Encoding, Search, dequantize, quantize};
use loquent::world::promised::promised_tensors;
use serde_json::{Value, json};

use crate::tiny_checkpoint::{Stored, TinyCheckpoint, shapes, stored, text_config};
use crate::{content, convert, place};

/// Sixteen weights: half a block.
const SIXTEEN: &str = "model.layers.0.linear_attn.in_proj_a.weight";

fn f32_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.get_mut(SIXTEEN).unwrap().bytes = f32_bytes((0..16).map(|n| n as f32 - 3.0));
    tiny.tensors.get_mut("model.layers.0.linear_attn.dt_bias").unwrap().bytes = f32_bytes([1.0, -2.5]);
    tiny.write_weights();
    let (_folder, out) = place();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let header = b"KHQ4\x02\0\0\0\x02\0\0\0\x02\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0";
    // A scale of 1, a bias of -3, codes 0 to 15 in pairs, and sixteen times the code of 0.0, which is 3.
    let block = b"\0\x3c\0\xc2\x10\x32\x54\x76\x98\xba\xdc\xfe\x33\x33\x33\x33\x33\x33\x33\x33";
    let file = fs::read(out.join("model_layers_0_linear_attn_in_proj_a_weight.q4")).unwrap();
    assert_eq!(file, [&header[..], block].concat());
    let file = fs::read(out.join("model_layers_0_linear_attn_dt_bias.f16")).unwrap();
    assert_eq!(file, b"KHF1\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\x3c\0\xc1");

    // About zero: from -7 with code 1 to 7 with code 15, and code 8 in the slots that are not used.
    tiny.tensors.get_mut(SIXTEEN).unwrap().bytes = f32_bytes((0..16).map(|n| (n % 15) as f32 - 7.0));
    tiny.write_weights();
    let options = ConvertOptions::default().encoding(Encoding::Symmetric).replace(true);
    convert(tiny.path(), &out, options).unwrap();
    let block = b"\0\x3c\0\xc8\x21\x43\x65\x87\xa9\xcb\xed\x1f\x88\x88\x88\x88\x88\x88\x88\x88";
    let file = fs::read(out.join("model_layers_0_linear_attn_in_proj_a_weight.q4")).unwrap();
    assert_eq!(file, [&header[..], block].concat());
}

#[test]
fn the_index_begins_as_the_format_says_and_has_no_newline_at_its_end() {
    let (_folder, out) = place();
    convert(TinyCheckpoint::new().path(), &out, ConvertOptions::default()).unwrap();
    let text = fs::read_to_string(out.join("quantize_index.json")).unwrap();
    let first = r#"[
  {
    "name": "lm_head.weight",
    "file": "lm_head_weight.q4",
    "quantized": true,
    "shape": [
      272,
      8
    ],
    "numel": 2176
  },
  {
    "name": "model.embed_tokens.weight","#;
    assert!(text.starts_with(first), "{}", &text[..400]);
    assert!(text.ends_with("  }\n]"));
}

/// The tensors whose names say that they are quantised.
fn is_quantized(name: &str) -> bool {
    ["_proj.weight", "_proj_a.weight", "_proj_b.weight", "_proj_qkv.weight", "_proj_z.weight"]
        .into_iter()
        .chain(["lm_head.weight", "embed_tokens.weight", "mtp.fc.weight"])
        .any(|end| name.ends_with(end))
}

#[test]
fn every_fixture_is_converted_whole_and_twice_to_the_same_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let sources: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let unconverted = |path: &PathBuf| path.join("config.json").exists() && !path.join("quantize_index.json").exists();
    let sources: Vec<_> = sources.into_iter().filter(unconverted).collect();
    assert!(sources.len() >= 5, "{sources:?}");
    for source in sources {
        let (_folder, out) = place();
        let before = content(&source);
        let report = convert(&source, &out, ConvertOptions::default()).unwrap();
        let once = content(&out);
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = ConvertOptions::default().replace(true);
        assert_eq!(one_thread.install(|| convert(&source, &out, again)).unwrap(), report);
        assert_eq!(content(&out), once, "{source:?}: bytes depend on the run");
        assert_eq!(content(&source), before, "{source:?} was touched");

        let config = Checkpoint::open(&source).unwrap().config;
        let index: Value = serde_json::from_slice(&once[Path::new("quantize_index.json")]).unwrap();
        let rows = index.as_array().unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert!(names.is_sorted());
        let prefix = config.layout.tensor_prefix();
        let is_beside = |name: &str| name == "lm_head.weight" || name.starts_with("mtp.");
        let full = |name: String| if is_beside(&name) { name } else { format!("{prefix}{name}") };
        let expected: BTreeSet<String> = shapes(&config).into_iter().map(|(name, _)| full(name)).collect();
        assert_eq!(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), expected);
        let mut files: BTreeSet<&str> = ["config.json", "generation_config.json", "quantize_index.json"].into();
        for row in rows {
            let (name, file) = (row["name"].as_str().unwrap(), row["file"].as_str().unwrap());
            let quantized = is_quantized(name);
            assert_eq!(row["quantized"], quantized, "{name}");
            let stem = name.replace(['.', '/'], "_");
            assert_eq!(file, format!("{stem}.{}", if quantized { "q4" } else { "f16" }));
            let shape: Vec<usize> = serde_json::from_value(row["shape"].clone()).unwrap();
            let count: usize = shape.iter().product();
            assert_eq!(row["numel"], count);
            let payload = if quantized { count.div_ceil(32) * 20 } else { count * 2 };
            assert_eq!(once[Path::new(file)].len(), 20 + 8 * shape.len() + payload, "{file}");
            let reported = report.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            assert_eq!(reported.written_bytes, once[Path::new(file)].len() as u64);
            files.insert(file);
        }
        let present = once.keys().map(|path| path.to_str().unwrap());
        let text_side = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
        assert_eq!(present.filter(|file| !text_side.contains(file)).collect::<BTreeSet<_>>(), files);
        for file in ["config.json", "generation_config.json"].into_iter().chain(text_side) {
            assert_eq!(once.get(Path::new(file)), before.get(Path::new(file)), "{file} is no copy");
        }
    }
}

#[test]
fn promised_tensors_are_those_of_the_model() {
    for config in [TinyCheckpoint::new().config, TinyCheckpoint::multimodal().config] {
        let config = ModelConfig::from_json(Path::new("config.json"), &config.to_string()).unwrap();
        assert!(config.layer_types.contains(&LayerType::FullAttention));
        let promised = promised_tensors(&config);
        for tensor in &promised {
            assert_eq!(tensor.is_matrix(), is_quantized(&tensor.name), "{}", tensor.name);
        }
        let sorted = |mut all: Vec<_>| {
            all.sort();
            all
        };
        let promised = promised.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        assert_eq!(sorted(promised), sorted(shapes(&config)));
    }
}

#[test]
fn element_types_and_shards_make_no_difference() {
    let single = TinyCheckpoint::multimodal();
    let (_folder, out) = place();
    convert(single.path(), &out, ConvertOptions::default()).unwrap();
    let expected = content(&out);
    let retyped = |dtype: &str, bytes: fn(f32) -> [u8; 2]| {
        let mut tiny = TinyCheckpoint::multimodal();
        for tensor in tiny.tensors.values_mut() {
            let values = tensor.bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
            let bytes = values.flat_map(bytes).collect();
            *tensor = Stored { dtype: dtype.into(), shape: tensor.shape.clone(), bytes };
        }
        tiny.write_weights();
        tiny
    };
    // Multiples of 1/128 below 1 are the same in all three.
    let half = retyped("F16", |value| f16::from_f32(value).to_le_bytes());
    let brain = retyped("BF16", |value| bf16::from_f32(value).to_le_bytes());
    let shards = TinyCheckpoint::multimodal();
    shards.shard();
    for source in [half, brain, shards] {
        let (_folder, out) = place();
        convert(source.path(), &out, ConvertOptions::default()).unwrap();
        assert_eq!(content(&out), expected);
    }
}

/// A checkpoint whose embedding is read in two pieces.
pub(crate) fn with_two_pieces() -> TinyCheckpoint {
    let mut config = text_config();
    (config["vocab_size"], config["tie_word_embeddings"]) = (json!(600_001), json!(true));
    let mut tiny = TinyCheckpoint::with_config(config);
    let embedding = tiny.tensors.get_mut("model.embed_tokens.weight").unwrap();
    embedding.bytes = f32_bytes((0..600_001u32 * 8).map(|n| (n.wrapping_mul(2_654_435_769) >> 8) as f32 * 1e-7));
    assert!(embedding.bytes.len() > 16 << 20);
    tiny.write_weights();
    tiny
}

#[test]
fn a_tensor_in_pieces_is_the_tensor_in_one() {
    let tiny = with_two_pieces();
    let weights = &tiny.tensors["model.embed_tokens.weight"].bytes;
    let weights: Vec<f32> = weights.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    for search in [Search::MinMax, Search::LeastSquares] {
        let (_folder, out) = place();
        let report = convert(tiny.path(), &out, ConvertOptions::default().search(search)).unwrap();
        let blocks = quantize(&weights, Encoding::Asymmetric, search).unwrap();
        let file = fs::read(out.join("model_embed_tokens_weight.q4")).unwrap();
        assert!(file[36..] == *bytemuck::cast_slice::<Block, u8>(&blocks), "{search:?}");

        let mut back = vec![0.0; weights.len()];
        dequantize(&blocks, 0, &mut back);
        let squared_error: f64 = weights.iter().zip(back).map(|(a, b)| f64::from(b - a).powi(2)).sum();
        let squared_weight: f64 = weights.iter().map(|&weight| f64::from(weight).powi(2)).sum();
        let found = report.tensors.iter().find(|tensor| tensor.name.contains("embed")).unwrap().deviation.unwrap();
        assert!((found.squared_error / squared_error - 1.0).abs() < 1e-9);
        assert!((found.squared_weight / squared_weight - 1.0).abs() < 1e-9);
    }
}

/// Tied by its configuration, at both levels, with this head beside the embedding.
fn with_head(head: Stored) -> TinyCheckpoint {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.tensors.insert("lm_head.weight".into(), head);
    tiny.write_weights();
    tiny
}

#[test]
fn a_head_that_is_not_the_embedding_is_kept_and_the_configuration_says_so() {
    let tiny = with_head(stored(&[272, 8], 99));
    for method in [Method::Q4, Method::QuaRot(QuaRot::default())] {
        let (_folder, out) = place();
        convert(tiny.path(), &out, ConvertOptions::of(method)).unwrap();
        let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
        assert_eq!(
            (&config["tie_word_embeddings"], &config["text_config"]["tie_word_embeddings"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(config["text_config"]["hidden_size"], 8);
        let checkpoint = Checkpoint::open(&out).unwrap();
        assert!(!checkpoint.config.tie_word_embeddings);
        assert!(out.join("lm_head_weight.q4").exists());
    }
    let (_folder, out) = place();
    let shared = with_head(TinyCheckpoint::multimodal().tensors["model.language_model.embed_tokens.weight"].clone());
    convert(shared.path(), &out, ConvertOptions::default()).unwrap();
    assert_eq!(fs::read(out.join("config.json")).unwrap(), fs::read(shared.file("config.json")).unwrap());
    assert!(!out.join("lm_head_weight.q4").exists());
}

#[test]
fn an_embedding_that_is_stored_as_the_head_only_gets_its_own_name() {
    let mut tiny = TinyCheckpoint::multimodal();
    let plain = place();
    let plain_report = convert(tiny.path(), &plain.1, ConvertOptions::default()).unwrap();
    let embedding = tiny.tensors.remove("model.language_model.embed_tokens.weight").unwrap();
    tiny.tensors.insert("lm_head.weight".into(), embedding);
    tiny.write_weights();
    let (_folder, out) = place();
    assert_eq!(convert(tiny.path(), &out, ConvertOptions::default()).unwrap(), plain_report);
    assert_eq!(content(&out), content(&plain.1));
    let quarot = ConvertOptions::of(Method::QuaRot(QuaRot::default()));
    convert(tiny.path(), &out, quarot.replace(true)).unwrap();
    assert!(!Checkpoint::open(&out).unwrap().config.tie_word_embeddings);
}

#[test]
fn tensors_keep_the_names_that_the_source_has_for_them() {
    let mut tiny = TinyCheckpoint::new();
    let tensors = std::mem::take(&mut tiny.tensors).into_iter();
    tiny.tensors =
        tensors.map(|(name, tensor)| (name.replacen("model.", "language_model.model.", 1), tensor)).collect();
    tiny.write_weights();
    let (_folder, out) = place();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    assert!(out.join("language_model_model_layers_0_mlp_up_proj_weight.q4").exists());
    let mut converted = Checkpoint::open(&out).unwrap();
    for (name, shape) in shapes(&converted.config) {
        converted.take(&name, &shape).unwrap();
    }
}

#[test]
fn the_tokenizers_other_files_come_along() {
    let tiny = TinyCheckpoint::new();
    let files = ["special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer_config.json"];
    for file in files {
        tiny.write(file, format!("{{\"of\": \"{file}\"}}"));
    }
    tiny.write("training_args.bin", "no part of the model");
    let (_folder, out) = place();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    for file in files.into_iter().chain(["tokenizer.json", "chat_template.jinja", "config.json"]) {
        assert_eq!(fs::read(out.join(file)).unwrap(), fs::read(tiny.file(file)).unwrap(), "{file}");
    }
    assert!(!out.join("training_args.bin").exists());
}

#[test]
fn the_demo_in_the_binary_is_the_trained_one_converted() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let (_folder, out) = place();
    convert(&assets.join("demo"), &out, ConvertOptions::default().search(Search::LeastSquares)).unwrap();
    assert_eq!(content(&out), content(&assets.join("demo-q4")));
}
