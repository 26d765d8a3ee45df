//! Whatever the text side's files hold: an answer or an error, never a panic; and a stream that says what decoding says.

use std::sync::LazyLock;

use bytes::Bytes;
use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint, CheckpointError, Tokenizer};
use proptest::prelude::*;
use serde_json::json;

use crate::damage::{damaged, with_any_value};
use crate::tiny_checkpoint::{self, TinyCheckpoint, safetensors, text_config, tokenizer};

/// Opens these files in memory and takes every tensor.
fn load(files: &[(&str, &[u8])]) -> Result<(), CheckpointError> {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, Bytes::copy_from_slice(bytes))).collect();
    let mut checkpoint = Checkpoint::from_files("memory", &files)?;
    for (name, shape) in tiny_checkpoint::shapes(&checkpoint.config) {
        checkpoint.take(&name, &shape)?;
    }
    if let Some(template) = &checkpoint.chat_template {
        template.render(&[ChatMessage::new("user", "Hi")], &ChatOptions::default())?;
    }
    if let Some(tokenizer) = &checkpoint.tokenizer {
        let ids = tokenizer.encode("a <|start|> loqu 42 é 中", false)?;
        tokenizer.decode(&ids, true)?;
    }
    Ok(())
}

fn config_text() -> Vec<u8> {
    text_config().to_string().into_bytes()
}

/// Made once: every case uses them.
static WEIGHTS: LazyLock<Vec<u8>> = LazyLock::new(|| safetensors(&TinyCheckpoint::new().tensors));
static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(|| TinyCheckpoint::new().load().unwrap().tokenizer.unwrap());

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_in_a_tokenizer_panics(file in with_any_value(tokenizer())) {
        let file = file.to_string();
        let _ = load(&[
            ("config.json", &config_text()), ("model.safetensors", &WEIGHTS), ("tokenizer.json", file.as_bytes()),
        ]);
    }

    #[test]
    fn no_damage_to_the_text_side_panics(
        tokenizer in damaged(tokenizer().to_string().into_bytes()),
        template in damaged(tiny_checkpoint::TEMPLATE.as_bytes().to_vec()),
        generation in damaged(br#"{"do_sample": true, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]}"#.to_vec()),
    ) {
        let config = config_text();
        for damaged in [
            ("tokenizer.json", &tokenizer), ("chat_template.jinja", &template), ("generation_config.json", &generation),
        ] {
            let _ = load(&[("config.json", &config), ("model.safetensors", &WEIGHTS), (damaged.0, damaged.1)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any ids: invalid sequences, parts of characters, special tokens in their midst, ids of no token.
    #[test]
    fn a_stream_gives_what_decoding_gives(ids in prop::collection::vec(prop_oneof![4 => 128u32..256, 1 => 0u32..280], 0..40)) {
        let tokenizer = &*BYTE_LEVEL;
        let mut stream = tokenizer.stream();
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.finish());
        prop_assert_eq!(text, tokenizer.decode(&ids, true).unwrap());
    }

    /// Valid text comes out whole, and each character as soon as its last byte is in.
    #[test]
    fn a_stream_never_splits_a_character(text in "[a-z中文字😀👩‍🚀é\u{301}ß ]{0,20}") {
        let tokenizer = &*BYTE_LEVEL;
        let ids = tokenizer.encode(&text, false).unwrap();
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for (index, &id) in ids.iter().enumerate() {
            streamed.push_str(&stream.push(id));
            prop_assert!(!streamed.contains(char::REPLACEMENT_CHARACTER));
            let so_far = tokenizer.decode(&ids[..=index], true).unwrap();
            prop_assert_eq!(&streamed, so_far.trim_end_matches(char::REPLACEMENT_CHARACTER));
        }
        prop_assert_eq!(stream.finish(), "");
    }
}

#[test]
fn a_stream_holds_nothing_back_when_a_model_is_stuck_in_invalid_bytes() {
    let tokenizer = &*BYTE_LEVEL;
    let mut stream = tokenizer.stream();
    let ids = vec![0xe4; 200_000];
    let streamed: usize = ids.iter().map(|&id| stream.push(id).chars().count()).sum();
    assert_eq!(streamed, ids.len() - 1);
    assert_eq!(stream.finish(), "\u{fffd}");
    assert_eq!(stream.finish(), "");
}

#[test]
fn a_stream_of_a_tokenizer_of_another_kind_gives_what_decoding_gives() {
    let tiny = TinyCheckpoint::new();
    let mut file = tokenizer();
    file["decoder"] = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "Ġ"}, "content": " "},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]});
    tiny.write("tokenizer.json", file.to_string());
    let tokenizer = tiny.load().unwrap().tokenizer.unwrap();
    let ids = tokenizer.encode(" a loqu a", false).unwrap();
    let mut stream = tokenizer.stream();
    let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
    text.push_str(&stream.finish());
    assert_eq!(text, tokenizer.decode(&ids, true).unwrap());
    assert_eq!(text, "a loqu a");
}
