//! A model computes the same from a GGUF file as from the files that it was made of.

use std::path::{Path, PathBuf};

use loquent::checkpoint::{Checkpoint, ElementType, Tensor};
use loquent::convert::{Conversion, ConvertOptions};
use loquent::prelude::Budget;
use loquent::world::promised::promised_tensors;
use serde_json::json;

use crate::gguf::converted;
use crate::support::{exact_world, logits, some_prompt, vocab_size};
use crate::tiny_checkpoint::{TinyCheckpoint, text_config};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The checkpoint as one file in a folder.
fn as_gguf(directory: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, converted(directory).bytes()).unwrap();
    (folder, path)
}

/// That the logits after some prompts are the same to the last bit.
fn assert_same_logits(directory: &Path, gguf: &Path) {
    let (mut published, mut converted) = (exact_world(directory), exact_world(gguf));
    let vocab_size = vocab_size(&mut published);
    for length in [1, 5, 40] {
        let prompt = some_prompt(length, vocab_size);
        let [expected, found] = [&mut published, &mut converted].map(|world| logits(world, &prompt, Budget::Step));
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&expected), bits(&found), "{}, {length} tokens", directory.display());
    }
}

/// Among them are ones with as many value heads as key heads, and twice as many on two and on three key heads; explicit
/// kinds of layers and ones in a pattern; F32, F16 and BF16; tied and untied.
#[test]
fn the_logits_of_qwen35_are_the_same() {
    for name in [
        "tied-bf16",
        "untied-odd-f32",
        "published-f16",
        "sharded-bf16",
        "mixed-old-rope",
        "published-untied",
        "tokenizer-bf16",
    ] {
        let directory = fixture(name);
        let mut gguf = converted(&directory);
        if name == "published-untied" || name == "sharded-bf16" {
            // Older converters know of the interval only.
            gguf.remove("qwen35.attention.recurrent_layers");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, gguf.bytes()).unwrap();
        assert_same_logits(&directory, &path);
    }
}

/// With and without norms of queries and keys, tied and untied, with frequencies scaled in each way that files have.
#[test]
fn the_logits_of_qwen3_and_llama_are_the_same() {
    for name in ["qwen3-tied", "qwen3-yarn", "llama-linear"] {
        let (_folder, gguf) = as_gguf(&fixture(name));
        assert_same_logits(&fixture(name), &gguf);
    }
}

/// With an expert that all tokens go through and without; stacked in both files, and one by one. Where the one dimension of
/// a matrix of one row is left out, too.
#[test]
fn the_logits_of_mixtures_of_experts_are_the_same() {
    for name in ["qwen3-moe-f32", "moe-published"] {
        let directory = fixture(name);
        let mut gguf = converted(&directory);
        for tensor in gguf.tensors.iter_mut().filter(|tensor| tensor.name == "blk.1.ffn_gate_inp_shexp.weight") {
            tensor.dimensions.pop();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, gguf.bytes()).unwrap();
        assert_same_logits(&directory, &path);
    }
}

/// Files have no settings of this kind, only what they come to in single precision.
#[test]
fn divided_frequencies_give_nearly_the_same_logits() {
    let directory = fixture("llama-scaled");
    let (_folder, gguf) = as_gguf(&directory);
    assert_nearly_same_logits(&directory, &gguf, 1e-5);
}

/// Files that llama.cpp's own package wrote, after a second account of what its converter does. One is in BF16, one has
/// experts, and one is in blocks of every type of 32 weights, with three value heads to each of two key heads.
#[test]
fn files_of_another_writer_are_read_alike() {
    assert_nearly_same_logits(&fixture("tokenizer-bf16"), &fixture("gguf/tokenizer-bf16.gguf"), 1e-5);
    assert_nearly_same_logits(&fixture("moe-published"), &fixture("gguf/moe-published.gguf"), 1e-5);
    assert_nearly_same_logits(&fixture("gguf/three-heads"), &fixture("gguf/three-heads/model.gguf"), 1e-5);
}

/// That no logit is farther off than this share of the largest.
fn assert_nearly_same_logits(directory: &Path, gguf: &Path, share: f32) {
    let (mut published, mut converted) = (exact_world(directory), exact_world(gguf));
    let prompt = some_prompt(40, vocab_size(&mut published));
    let [expected, found] = [&mut published, &mut converted].map(|world| logits(world, &prompt, Budget::Step));
    let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = expected.iter().fold(1.0, |most: f32, logit| most.max(logit.abs()));
    assert!(off <= share * largest, "{}: {off} of {largest}", gguf.display());
}

/// Two key heads with three value heads each: whoever takes the order for its own inverse is found out.
#[test]
fn three_value_heads_to_a_key_head_are_put_back() {
    let mut config = text_config();
    config["linear_num_key_heads"] = json!(2);
    config["linear_num_value_heads"] = json!(6);
    let tiny = TinyCheckpoint::with_config(config);
    let (_folder, gguf) = as_gguf(tiny.path());
    assert_same_logits(tiny.path(), &gguf);
}

/// Heads that are half as wide as a block: all stay in the order that the file has them in.
#[test]
fn heads_whose_columns_are_parts_of_blocks_stay_where_they_are() {
    const KIND: u32 = 12;
    const OUT: &str = "model.layers.0.linear_attn.out_proj.weight";
    let (keys, per_key, width) = (2, 3, 128);
    let columns = keys * per_key * width;
    let mut config = text_config();
    for (field, value) in [
        ("linear_num_key_heads", keys),
        ("linear_num_value_heads", keys * per_key),
        ("linear_value_head_dim", width),
        ("num_hidden_layers", 1),
    ] {
        config[field] = json!(value);
    }
    config["layer_types"] = json!(["linear_attention"]);
    let mut tiny = TinyCheckpoint::with_config(config);
    let mut gguf = converted(tiny.path());

    let blocks = std::fs::read(fixture("ggml/Q4_K.blocks")).unwrap();
    let rows = tiny.tensors[OUT].shape[0];
    let size = ElementType::Q4K.bytes_for(rows * columns).unwrap();
    let blocks: Vec<u8> = blocks.into_iter().cycle().take(size).collect();
    let stored = Tensor::new("out", ElementType::Q4K, vec![rows, columns], blocks.clone().into()).unwrap().to_f32();
    let published = stored.chunks(columns).flat_map(|row| {
        let heads: Vec<&[f32]> = row.chunks(width).collect();
        (0..keys * per_key).flat_map(move |head| heads[head % per_key * keys + head / per_key].to_vec())
    });
    tiny.tensors.get_mut(OUT).unwrap().bytes = published.flat_map(f32::to_le_bytes).collect();
    tiny.write_weights();
    let out = gguf.tensor("blk.0.ssm_out.weight");
    (out.kind, out.bytes) = (KIND, blocks);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();

    let mut converted = Checkpoint::open(&path).unwrap();
    let taken = converted.take("layers.0.linear_attn.out_proj.weight", &[rows, columns]).unwrap();
    assert_eq!(taken.element(), ElementType::Q4K);
    assert_nearly_same_logits(tiny.path(), &path, 1e-5);
    let refused = Conversion::plan(&path, &folder.path().join("out"), ConvertOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("parts of blocks, in ssm_out"), "{refused}");
}

/// What is handed out is what was published, byte for byte, but for the small tensors that are in their arithmetic form.
#[test]
fn matrices_are_those_that_were_published() {
    for name in ["untied-odd-f32", "mixed-old-rope"] {
        let (_folder, path) = as_gguf(&fixture(name));
        let [mut published, mut converted] = [fixture(name), path].map(|path| Checkpoint::open(&path).unwrap());
        assert_eq!(published.config.layer_types, converted.config.layer_types);
        assert!(converted.is_applied() && !published.is_applied());
        for promised in promised_tensors(&published.config.clone()).iter().filter(|promised| promised.is_matrix()) {
            let take = |from: &mut Checkpoint| from.take(&promised.name, &promised.shape).unwrap();
            let (expected, found) = (take(&mut published), take(&mut converted));
            assert_eq!(expected.element(), found.element(), "{}", promised.name);
            assert_eq!(expected.bytes(), found.bytes(), "{}", promised.name);
        }
    }
}

#[test]
fn the_configuration_is_the_published_one() {
    for name in ["tied-bf16", "untied-odd-f32", "published-f16", "tokenizer-bf16"] {
        let (_folder, path) = as_gguf(&fixture(name));
        let [mut expected, found] = [fixture(name), path].map(|path| Checkpoint::open(&path).unwrap().config);
        (expected.layout, expected.eos_token_ids) = (found.layout, found.eos_token_ids.clone());
        assert_eq!(expected, found, "{name}");
    }
}
