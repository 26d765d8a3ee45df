//! Writes a tiny checkpoint as a converted directory, by a reading of the format that owes nothing to the library's.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use serde_json::{Value, json};

use crate::tiny_checkpoint::{Stored, TinyCheckpoint};

pub(crate) const INDEX: &str = "quantize_index.json";

/// `magic | version | dimensions | shape | elements | payload`.
pub(crate) fn tensor_file(magic: &[u8; 4], version: u32, shape: &[u64], count: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().chain([&count]).for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes.extend(payload);
    bytes
}

pub(crate) fn q4(shape: &[u64], payload: &[u8]) -> Vec<u8> {
    tensor_file(b"KHQ4", 2, shape, shape.iter().product(), payload)
}

pub(crate) fn f16(shape: &[u64], payload: &[u8]) -> Vec<u8> {
    tensor_file(b"KHF1", 1, shape, shape.iter().product(), payload)
}

/// The bits of 1/8, -1 and 1/16 in half precision.
const SCALE: u16 = 0x3000;
const BIAS: u16 = 0xbc00;
const SIXTEENTH: u16 = 0x2c00;

/// Codes that differ from weight to weight and from tensor to tensor.
fn code(index: usize, seed: usize) -> u8 {
    ((index * 7 + index / 16 + seed * 3) % 16) as u8
}

/// Blocks of `count` weights, and what they stand for.
pub(crate) fn blocks(count: usize, seed: usize) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::new();
    for first in (0..count).step_by(32) {
        bytes.extend(SCALE.to_le_bytes());
        bytes.extend(BIAS.to_le_bytes());
        bytes.extend((first..first + 32).step_by(2).map(|index| code(index, seed) | code(index + 1, seed) << 4));
    }
    let weights = (0..count).map(|index| f32::from(code(index, seed)) / 8.0 - 1.0).collect();
    (bytes, weights)
}

/// Half-precision numbers, and what they are.
pub(crate) fn halves(count: usize) -> (Vec<u8>, Vec<f32>) {
    // Every other one is negative.
    let bits = |index: usize| SIXTEENTH | ((index as u16 & 1) << 15);
    let bytes = (0..count).flat_map(|index| bits(index).to_le_bytes()).collect();
    (bytes, (0..count).map(|index| if index % 2 == 0 { 0.0625 } else { -0.0625 }).collect())
}

/// What a converter does not keep in half precision.
pub(crate) fn is_quantised(name: &str) -> bool {
    ["_proj", "_proj_a", "_proj_b", "_proj_qkv", "_proj_z", "lm_head", "embed_tokens"]
        .iter()
        .any(|end| name.strip_suffix(".weight").is_some_and(|name| name.ends_with(end)))
}

pub(crate) fn file_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    plain + if is_quantised(name) { ".q4" } else { ".f16" }
}

impl TinyCheckpoint {
    /// The checkpoint with its weights in a converted directory's form, and the index of them.
    pub(crate) fn converted() -> (Self, Vec<Value>) {
        let tiny = Self::new();
        let index = tiny.convert();
        (tiny, index)
    }

    /// Replaces `model.safetensors` by a file for each tensor, of other weights.
    pub(crate) fn convert(&self) -> Vec<Value> {
        self.remove("model.safetensors");
        let entry = |(seed, (name, tensor)): (usize, (&String, &Stored))| {
            let count = tensor.shape.iter().product();
            let shape: Vec<u64> = tensor.shape.iter().map(|&size| size as u64).collect();
            let file = file_name(name);
            let quantized = is_quantised(name);
            let bytes = if quantized { q4(&shape, &blocks(count, seed).0) } else { f16(&shape, &halves(count).0) };
            self.write(&file, bytes);
            json!({"name": name, "file": file, "quantized": quantized, "shape": shape, "numel": count})
        };
        let index: Vec<Value> = self.tensors.iter().enumerate().map(entry).collect();
        self.write(INDEX, json!(index).to_string());
        index
    }
}
