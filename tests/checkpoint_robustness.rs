//! Whatever the bytes of a file: an answer or an error, never a panic; and a stream that says what decoding says.

#[path = "support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint, CheckpointError, ModelConfig, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};
use tiny_checkpoint::{TinyCheckpoint, safetensors, text_config, tokenizer};

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

/// One way to damage a file: bytes replaced, removed, inserted, or the end cut off.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    prop_oneof![
        (0..length).prop_map({
            let whole = whole.clone();
            move |end| whole[..end].to_vec()
        }),
        prop::collection::vec((0..length, any::<u8>()), 1..8).prop_map({
            let whole = whole.clone();
            move |edits| {
                let mut bytes = whole.clone();
                edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
                bytes
            }
        }),
        (0..length, 0..40usize, prop::collection::vec(any::<u8>(), 0..40)).prop_map(move |(at, removed, inserted)| {
            let mut bytes = whole.clone();
            bytes.splice(at..(at + removed).min(length), inserted);
            bytes
        }),
    ]
}

/// A JSON value of any kind, with the numbers that break things.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![0u64, 1, 2, 4, 255, 1 << 20, 1 << 31, 1 << 32, 1 << 62, u64::MAX])
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Every place in a JSON value, as a pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), found));
        }
        // The vocabulary would be nearly all places.
        Value::Object(map) if map.len() < 50 => {
            map.iter().for_each(|(name, item)| pointers(item, &format!("{at}/{name}"), found));
        }
        _ => {}
    }
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
    fn no_damage_to_a_configuration_panics(text in damaged(config_text())) {
        let _ = ModelConfig::from_json(Path::new("config.json"), &String::from_utf8_lossy(&text));
    }

    #[test]
    fn no_value_of_any_field_panics(index in any::<prop::sample::Index>(), value in any_json()) {
        let mut config = text_config();
        let names: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        config[&names[index.index(names.len())]] = value;
        let _ = ModelConfig::from_json(Path::new("config.json"), &config.to_string());
    }

    #[test]
    fn no_damage_to_weights_panics(bytes in damaged(WEIGHTS[..2048].to_vec())) {
        let _ = load(&[("config.json", &config_text()), ("model.safetensors", &bytes)]);
    }

    #[test]
    fn no_header_panics(header in any_json(), data in 0usize..64) {
        let bytes = tiny_checkpoint::file_with_header(&header.to_string(), &vec![0; data]);
        let _ = load(&[("config.json", &config_text()), ("model.safetensors", &bytes)]);
    }

    #[test]
    fn no_entry_of_a_header_panics(dtype in any_json(), shape in any_json(), start in any_json(), end in any_json()) {
        let entry = json!({"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}});
        let bytes = tiny_checkpoint::file_with_header(&entry.to_string(), &[0; 64]);
        let _ = load(&[("config.json", &config_text()), ("model.safetensors", &bytes)]);
    }

    #[test]
    fn no_value_in_a_tokenizer_panics(index in any::<prop::sample::Index>(), value in any_json()) {
        let mut file = tokenizer();
        let mut places = Vec::new();
        pointers(&file, "", &mut places);
        *file.pointer_mut(&places[index.index(places.len())]).unwrap() = value;
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
