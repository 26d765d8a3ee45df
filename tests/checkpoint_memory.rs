//! Opening a checkpoint and looking at every element allocates nothing that grows with it: the weights stay in the file.

#![cfg(target_os = "linux")]

#[path = "support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

use std::fs::{self, File};

use serde_json::json;
use tiny_checkpoint::{TinyCheckpoint, file_with_header};

/// Memory that is not backed by a file, in bytes.
fn anonymous_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn weights_stay_in_their_file() {
    const VOCABULARY: usize = 1 << 20;
    const SIZE: usize = 2 * VOCABULARY * 128;
    let tiny = TinyCheckpoint::new().with_field("vocab_size", json!(VOCABULARY)).with_field("hidden_size", json!(128));
    let header =
        json!({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [VOCABULARY, 128], "data_offsets": [0, SIZE]}});
    let mut header = header.to_string();
    header.extend(std::iter::repeat_n(' ', header.len().wrapping_neg() % 8));
    tiny.write("model.safetensors", file_with_header(&header, &[]));
    let file = File::options().write(true).open(tiny.file("model.safetensors")).unwrap();
    // Sparse: 256 MiB of zeros that take no disk space.
    file.set_len((8 + header.len() + SIZE) as u64).unwrap();

    let before = anonymous_memory();
    let mut checkpoint = loquent::checkpoint::Checkpoint::open(tiny.path()).unwrap();
    let tensor = checkpoint.take("embed_tokens.weight", &[VOCABULARY, 128]).unwrap();
    let grown = anonymous_memory().saturating_sub(before);
    assert_eq!(tensor.bytes().len(), SIZE);
    assert!(grown < SIZE as u64 / 16, "{grown} bytes for a file of {SIZE}");
}
