//! Checking a four-bit tensor looks at every page of its file, and leaves none of them in memory: a backend that packs
//! tensors into memory of its own would otherwise hold the model twice.

#![cfg(target_os = "linux")]

#[path = "support/converted.rs"]
mod converted;
#[path = "support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

use std::fs::{self, File};
use std::io::Write;

use converted::{INDEX, blocks, file_name, q4};
use serde_json::json;
use tiny_checkpoint::TinyCheckpoint;

/// Memory that is backed by files or by nothing, in bytes.
fn resident_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_checked_tensor_takes_no_memory_until_it_is_used() {
    const VOCABULARY: usize = 1 << 20;
    const HIDDEN: usize = 64;
    const SIZE: usize = VOCABULARY * HIDDEN / 32 * 20;
    let name = "model.embed_tokens.weight";
    let tiny =
        TinyCheckpoint::new().with_field("vocab_size", json!(VOCABULARY)).with_field("hidden_size", json!(HIDDEN));
    tiny.remove("model.safetensors");
    let shape = [VOCABULARY as u64, HIDDEN as u64];
    let mut file = File::create(tiny.file(&file_name(name))).unwrap();
    file.write_all(&q4(&shape, &[])).unwrap();
    let (part, _) = blocks(1 << 15, 0);
    (0..SIZE / part.len()).for_each(|_| file.write_all(&part).unwrap());
    let entry =
        json!({"name": name, "file": file_name(name), "quantized": true, "shape": shape, "numel": VOCABULARY * HIDDEN});
    tiny.write(INDEX, json!([entry]).to_string());

    let mut checkpoint = loquent::checkpoint::Checkpoint::open(tiny.path()).unwrap();
    let before = resident_memory();
    let tensor = checkpoint.take("embed_tokens.weight", &[VOCABULARY, HIDDEN]).unwrap();
    let grown = resident_memory().saturating_sub(before);
    assert_eq!(tensor.bytes().len(), SIZE);
    assert!(grown < SIZE as u64 / 8, "{grown} bytes for a file of {SIZE}");
    // Looking at it is what brings it in.
    assert!(tensor.blocks().unwrap().iter().all(loquent::quant::Block::is_sound));
    assert!(resident_memory().saturating_sub(before) > SIZE as u64 / 2);
}
