//! JSON as Python's `json` module writes and reads it.

use crate::parse;
use crate::tiny_checkpoint::{self, TinyCheckpoint};

/// The checkpoint's `config.json` in other words.
fn reworded(tiny: &TinyCheckpoint, from: &str, to: &str) {
    let text = tiny.config.to_string();
    assert!(text.contains(from), "{text}");
    tiny.write("config.json", text.replacen(from, to, 1));
}

#[test]
fn what_python_writes_for_numbers_that_are_not_finite_is_no_matter_where_it_is_not_used() {
    let tiny = TinyCheckpoint::new();
    let unused = r#"{"limits": [0.0, Infinity, -Infinity, NaN], "text": "NaN \" Infinity", "x": -Infinity, "#;
    reworded(&tiny, "{", unused);
    assert_eq!(tiny.load().unwrap().config, parse(&tiny.config));
    tiny.write("generation_config.json", r#"{"length_penalty": Infinity, "top_k": 7}"#);
    assert_eq!(tiny.load().unwrap().generation.top_k, Some(7));
    tiny.write("tokenizer_config.json", r#"{"model_max_length": Infinity}"#);
    tiny.load().unwrap();
}

#[test]
fn files_may_begin_with_a_byte_order_mark() {
    let tiny = TinyCheckpoint::new();
    reworded(&tiny, "{", "\u{feff}{");
    tiny.write("generation_config.json", "\u{feff}{\"top_k\": 7}");
    tiny.shard();
    let index = std::fs::read_to_string(tiny.file("model.safetensors.index.json")).unwrap();
    tiny.write("model.safetensors.index.json", format!("\u{feff}{}", index.replacen('{', "{\"total\": NaN, ", 1)));
    let checkpoint = tiny.load().unwrap();
    assert_eq!((checkpoint.config, checkpoint.generation.top_k), (parse(&tiny.config), Some(7)));
}

#[test]
fn a_header_in_pythons_words_is_read() {
    let tiny = TinyCheckpoint::new();
    let whole = tiny_checkpoint::safetensors(&tiny.tensors);
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&whole[8..8 + length]).unwrap();
    let header = header.replacen('{', r#"{"__metadata__": {"loss": NaN}, "#, 1);
    tiny.write("model.safetensors", tiny_checkpoint::file_with_header(&header, &whole[8 + length..]));
    tiny.load().unwrap();
}
