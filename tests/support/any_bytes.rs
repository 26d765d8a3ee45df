//! What holds for each file of a checkpoint, whatever its bytes: it is refused by its name, or what comes out is what it
//! says. Each says how many tensors came out. `tests/fuzz_smoke.rs` and the targets in `fuzz` try to find bytes for which it does not.

#![allow(unreachable_pub, reason = "the fuzz crate has it public")]

use std::collections::BTreeMap;

use bytes::Bytes;
use loquent::checkpoint::{Checkpoint, CheckpointError, Tensor};
use loquent::world::promised::promised_tensors;
use serde_json::{Value, json};

use crate::converted::{INDEX, blocks, f16 as f16_file, halves, q4 as q4_file};
use crate::tiny_checkpoint::{Stored, safetensors as safetensors_file, shapes, text_config};

const DIRECTORY: &str = "directory";
const WEIGHTS: &str = "model.safetensors";

/// `config.json`, beside the weights of a tiny model.
pub fn config(bytes: &[u8]) -> usize {
    let weights = three_tensors();
    let Some(mut checkpoint) = open(&[("config.json", bytes), (WEIGHTS, &weights)]) else { return 0 };
    let config = checkpoint.config.clone();
    assert!(checkpoint.eos_token_ids().iter().all(|&id| (id as usize) < config.vocab_size));
    assert!(config.rms_norm_eps > 0.0 && config.rms_norm_eps.is_finite());
    let attention = &config.attention;
    assert_eq!(attention.num_heads % attention.num_kv_heads, 0);
    let rope = &attention.rope;
    assert!(rope.rotary_dim.is_multiple_of(2) && (2..=attention.head_dim).contains(&rope.rotary_dim));
    assert!(rope.theta > 0.0 && rope.theta.is_finite());
    let frequencies = rope.frequencies();
    assert!(frequencies.inverse.iter().chain([&frequencies.attention_factor]).all(|number| number.is_finite()));
    assert_eq!(frequencies.inverse.len(), rope.rotary_dim / 2);
    assert!(config.delta_net.iter().all(|net| net.num_value_heads % net.num_key_heads == 0));
    shapes(&config).iter().filter(|(name, shape)| take(&mut checkpoint, name, shape).is_some()).count()
}

/// `model.safetensors`, of any tensors.
pub fn safetensors(bytes: &[u8]) -> usize {
    let config = text_config().to_string();
    let Some(mut checkpoint) = open(&[("config.json", config.as_bytes()), (WEIGHTS, bytes)]) else { return 0 };
    let (length, rest) = bytes.split_first_chunk().expect("a header");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Value = serde_json::from_slice(header).expect("a header");
    let names: Vec<String> = checkpoint.left_over().map(str::to_owned).collect();
    let mut read = 0;
    for full in names {
        let entry = &header[&full];
        let (shape, offsets) = (sizes(&entry["shape"]), sizes(&entry["data_offsets"]));
        // No other names are those of a text model's tensors.
        let name = full.strip_prefix("model.").or((full == "lm_head.weight").then_some(&full));
        if let Some(tensor) = name.and_then(|name| take(&mut checkpoint, name, &shape)) {
            assert_eq!(tensor.bytes(), &data[offsets[0]..offsets[1]]);
            read += 1;
        }
    }
    read
}

/// A file with a tensor of each type that is read.
pub fn three_tensors() -> Vec<u8> {
    let tensors = [
        ("model.norm.weight", "F32", vec![8], [0, 0, 0x80, 0x3f].repeat(8)),
        ("model.layers.0.mlp.down_proj.weight", "BF16", vec![8, 12], [0x80, 0xbf].repeat(96)),
        ("model.layers.3.self_attn.q_norm.weight", "F16", vec![8], [0, 0x3c].repeat(8)),
    ];
    let tensors =
        tensors.map(|(name, dtype, shape, bytes)| (name.into(), Stored { dtype: dtype.into(), shape, bytes }));
    safetensors_file(&BTreeMap::from(tensors))
}

/// A GGUF file, of whichever model it says that it is.
pub fn gguf(bytes: &[u8]) -> usize {
    let Some(mut checkpoint) = open(&[("tiny.gguf", bytes)]) else { return 0 };
    let config = checkpoint.config.clone();
    assert!(checkpoint.eos_token_ids().iter().all(|&id| (id as usize) < config.vocab_size));
    if let Some(tokenizer) = &checkpoint.tokenizer {
        let ids = accepted(tokenizer.encode("The delta net\n12 <|start|>", true)).unwrap_or_default();
        assert!(ids.iter().all(|&id| (id as usize) < config.vocab_size));
    }
    let promised = promised_tensors(&config);
    promised.iter().filter(|tensor| take(&mut checkpoint, &tensor.name, &tensor.shape).is_some()).count()
}

/// A `.q4` file.
pub fn q4(bytes: &[u8]) -> usize {
    tensor_file(bytes, "tensor.q4")
}

/// A `.f16` file.
pub fn f16(bytes: &[u8]) -> usize {
    tensor_file(bytes, "tensor.f16")
}

/// A file of one tensor, which the index says to have the shape that its header says if that has a size at all: what is
/// left to refuse is wrong in the file itself.
fn tensor_file(bytes: &[u8], file: &str) -> usize {
    let dimensions = bytes.get(8..12).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()) as usize);
    let words = bytes.get(12..).unwrap_or_default().as_chunks().0.iter().map(|&word| u64::from_le_bytes(word) as usize);
    let shape: Vec<usize> = words.take(dimensions).collect();
    let count = shape.iter().try_fold(1usize, |count, &dimension| count.checked_mul(dimension));
    let (shape, count) = count.map_or((vec![8, 12], 96), |count| (shape, count));
    let quantized = file.ends_with(".q4");
    let index =
        json!([{"name": "model.norm.weight", "file": file, "quantized": quantized, "shape": shape, "numel": count}]);
    let (config, index) = (text_config().to_string(), index.to_string());
    let files = [("config.json", config.as_bytes()), (INDEX, index.as_bytes()), (file, bytes)];
    let Some(mut checkpoint) = open(&files) else { return 0 };
    let Some(tensor) = take(&mut checkpoint, "norm.weight", &shape) else { return 0 };
    assert_eq!(tensor.bytes(), &bytes[12 + 8 * (dimensions + 1)..]);
    assert_eq!(tensor.bytes().len(), if quantized { count.div_ceil(32) * 20 } else { count * 2 });
    1
}

/// `quantize_index.json`, beside a file of either form.
pub fn index(bytes: &[u8]) -> usize {
    let config = text_config().to_string();
    let (matrix, vector) = (q4_file(&[8, 12], &blocks(96, 0).0), f16_file(&[8], &halves(8).0));
    let files = [("config.json", config.as_bytes()), (INDEX, bytes), ("matrix.q4", &matrix), ("vector.f16", &vector)];
    let Some(mut checkpoint) = open(&files) else { return 0 };
    let promised: [(&str, &[usize]); 2] = [("layers.0.mlp.down_proj.weight", &[8, 12]), ("norm.weight", &[8])];
    promised.into_iter().filter(|(name, shape)| take(&mut checkpoint, name, shape).is_some()).count()
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().expect("sizes").iter().map(|size| size.as_u64().expect("a size") as usize).collect()
}

fn open(files: &[(&str, &[u8])]) -> Option<Checkpoint> {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, Bytes::copy_from_slice(bytes))).collect();
    accepted(Checkpoint::from_files(DIRECTORY, &files))
}

/// The tensor, with as many finite values as its shape says.
fn take(checkpoint: &mut Checkpoint, name: &str, shape: &[usize]) -> Option<Tensor> {
    let tensor = accepted(checkpoint.take(name, shape))?;
    let count = shape.iter().try_fold(1usize, |count, &dimension| count.checked_mul(dimension));
    assert_eq!((tensor.shape(), Some(tensor.len())), (shape, count));
    let values = tensor.to_f32();
    assert_eq!(Some(values.len()), count);
    assert!(values.iter().all(|value| value.is_finite()));
    Some(tensor)
}

/// `None` for a refusal, which names a file and is short enough to read.
fn accepted<T>(result: Result<T, CheckpointError>) -> Option<T> {
    let message = match result {
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    assert!(message.starts_with(&format!("{DIRECTORY}/")), "{message:?} names no file");
    assert!(message.len() < 1000, "a message of {} bytes: {message:.200}", message.len());
    assert!(!message.contains(char::is_control), "{message:?} has control characters");
    None
}
