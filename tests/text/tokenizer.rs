//! Text goes in and out as with transformers. `tests/fixtures/make.py` froze its answers.

use std::path::Path;

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint, Examination, Tokenizer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tiny_checkpoint::{TinyCheckpoint, tokenizer};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    decode_only: Vec<Decoded>,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    #[serde(flatten)]
    decoded: Decoded,
}

#[derive(Deserialize)]
struct Decoded {
    ids: Vec<u32>,
    decoded: String,
    without_special: String,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    options: Options,
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Options {
    add_generation_prompt: bool,
    /// Where it was not given, a template may tell that from false; we always give it.
    enable_thinking: Option<bool>,
}

fn fixture() -> (Checkpoint, Golden) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-bf16");
    let golden = std::fs::read_to_string(folder.join("tokenizer_golden.json")).expect("tokenizer_golden.json");
    (Checkpoint::open(&folder).expect("a checkpoint"), serde_json::from_str(&golden).expect("tokenizer_golden.json"))
}

#[test]
fn text_becomes_the_tokens_of_transformers() {
    let (checkpoint, golden) = fixture();
    let tokenizer = checkpoint.tokenizer.expect("a tokenizer");
    for Text { text, decoded } in golden.texts {
        assert_eq!(tokenizer.encode(&text, false).expect("tokens"), decoded.ids, "{text:?}");
    }
}

#[test]
fn tokens_become_the_text_of_transformers_at_once_and_one_by_one() {
    let (checkpoint, golden) = fixture();
    let tokenizer = checkpoint.tokenizer.expect("a tokenizer");
    let texts = golden.texts.into_iter().map(|text| text.decoded);
    for Decoded { ids, decoded, without_special } in texts.chain(golden.decode_only) {
        assert_eq!(tokenizer.decode(&ids, false).expect("text"), decoded, "{ids:?}");
        assert_eq!(tokenizer.decode(&ids, true).expect("text"), without_special, "{ids:?}");
        let mut stream = tokenizer.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.finish());
        assert_eq!(streamed, without_special, "{ids:?}");
    }
}

#[test]
fn a_chat_is_rendered_as_transformers_renders_it() {
    let (checkpoint, golden) = fixture();
    let (tokenizer, template) =
        (checkpoint.tokenizer.expect("a tokenizer"), checkpoint.chat_template.expect("a template"));
    let mut rendered = 0;
    for Chat { messages, options, text, ids } in golden.chats {
        let Some(enable_thinking) = options.enable_thinking else { continue };
        let messages: Vec<_> = messages.into_iter().map(|turn| ChatMessage::new(turn.role, turn.content)).collect();
        let add_generation_prompt = options.add_generation_prompt;
        let options = ChatOptions { add_generation_prompt, enable_thinking, ..ChatOptions::default() };
        let found = template.render(&messages, &options).expect("a rendering");
        assert_eq!(found, text);
        assert_eq!(tokenizer.encode(&found, false).expect("tokens"), ids);
        rendered += 1;
    }
    assert!(rendered > 10, "only {rendered} chats were compared");
}

/// The tiny checkpoint, whose last token is 264, with this `tokenizer_config.json`.
fn configured(config: &Value) -> TinyCheckpoint {
    let tiny = TinyCheckpoint::new();
    tiny.write("tokenizer_config.json", config.to_string());
    tiny
}

fn tokenizer_of(config: &Value) -> Tokenizer {
    configured(config).load().expect("a checkpoint").tokenizer.expect("a tokenizer")
}

#[test]
fn tokens_that_only_the_configuration_adds_are_known() {
    let tokenizer = tokenizer_of(&json!({"added_tokens_decoder": {
        "266": {"content": "<tag>", "lstrip": true, "rstrip": true, "normalized": false, "single_word": false, "special": false},
        "265": {"content": "<|audio|>", "special": true},
        "267": {"content": "word", "single_word": true},
    }}));
    let ids = tokenizer.encode("<|audio|>a <tag>  b word swords", false).expect("tokens");
    assert_eq!(ids[..4], [265, 97, 266, 98]);
    assert_eq!(ids.iter().filter(|&&id| id == 267).count(), 1, "no part of a word is one: {ids:?}");
    assert_eq!(tokenizer.decode(&ids[..3], true).expect("text"), "a<tag>");
    assert_eq!(tokenizer.decode(&ids[..3], false).expect("text"), "<|audio|>a<tag>");
    let mut stream = tokenizer.stream();
    assert_eq!((stream.push(265), stream.push(266)), (String::new(), "<tag>".to_owned()));
    assert_eq!(tokenizer.token_to_id("<|audio|>"), Some(265));
    assert_eq!(tokenizer.id_to_token(266).as_deref(), Some("<tag>"));
}

#[test]
fn the_configuration_may_make_a_token_special() {
    // One that tokenizer.json added, and one of its vocabulary.
    let tokenizer = tokenizer_of(&json!({"added_tokens_decoder": {
        "264": {"content": "<think a>", "normalized": false, "special": true}, "258": {"content": "loqu", "special": true},
    }}));
    assert_eq!(tokenizer.encode("xloqu<think a>", false).expect("tokens"), [120, 258, 264]);
    assert_eq!(tokenizer.decode(&[120, 258, 264], true).expect("text"), "x");
    // Without it, neither is.
    let tokenizer = tokenizer_of(&json!({}));
    assert_eq!(tokenizer.decode(&[120, 258, 264], true).expect("text"), "xloqu<think a>");
}

#[test]
fn tokens_that_the_configuration_calls_special_are() {
    let tokenizer = tokenizer_of(&json!({
        "eos_token": "<|bye|>", "pad_token": {"content": "loqu", "lstrip": false}, "bos_token": null,
        "extra_special_tokens": ["<|seen|>", "<|bye|>"], "additional_special_tokens": ["<|formerly|>"],
        "clean_up_tokenization_spaces": false, "add_bos_token": false,
    }));
    // As in transformers, those without an id come after all others, named ones first.
    assert_eq!(tokenizer.encode("<|seen|>loqu<|bye|>", false).expect("tokens"), [266, 258, 265]);
    assert_eq!(tokenizer.decode(&[266, 258, 265, 120], true).expect("text"), "x");
    assert_eq!(tokenizer.eos_token(), Some(265));
    assert_eq!(tokenizer.token_to_id("<|formerly|>"), None, "the newer field replaces it");
    let tokenizer = tokenizer_of(&json!({"extra_special_tokens": {"image_token": "<|image|>"}}));
    assert_eq!((tokenizer.token_to_id("<|image|>"), tokenizer.eos_token()), (Some(265), None));
    let tokenizer = tokenizer_of(&json!({"additional_special_tokens": ["<|formerly|>"]}));
    assert_eq!(tokenizer.token_to_id("<|formerly|>"), Some(265));
}

#[test]
fn special_tokens_for_which_there_is_no_id_are_no_reason_to_refuse_a_tokenizer() {
    let extra: Vec<String> = (0..20).map(|index| format!("<|extra {index}|>")).collect();
    let tokenizer = tokenizer_of(&json!({"extra_special_tokens": extra}));
    assert_eq!(tokenizer.token_to_id("<|extra 6|>"), Some(271), "the vocabulary has 272");
    assert_eq!(tokenizer.token_to_id("<|extra 7|>"), None);

    // A vocabulary with gaps cannot be numbered on.
    let tiny = configured(&json!({"eos_token": "<|bye|>"}));
    let mut file = tokenizer_file_with_a_gap();
    file["added_tokens"] = json!([]);
    tiny.write("tokenizer.json", file.to_string());
    let tokenizer = tiny.load().expect("a checkpoint").tokenizer.expect("a tokenizer");
    assert_eq!((tokenizer.eos_token(), tokenizer.id_to_token(262).as_deref()), (None, Some("qu")));
}

/// One whose vocabulary leaves 257 out and has 262 instead.
fn tokenizer_file_with_a_gap() -> Value {
    let mut file = tokenizer();
    file["model"]["vocab"]["qu"] = json!(262);
    file
}

#[test]
fn an_added_token_whose_id_is_taken_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.write("tokenizer.json", tokenizer_file_with_a_gap().to_string());
    tiny.assert_refused("tokenizer.json", &["`added_tokens`", "id 262 for \"<|start|>\"", "taken by \"qu\""]);
}

#[test]
fn ids_that_the_configuration_cannot_give_are_refused() {
    let added = |id: &str, content: &str| json!({"added_tokens_decoder": {id: {"content": content, "special": true}}});
    for (config, parts) in [
        (added("263", "<|start|>"), ["`added_tokens_decoder.263`", "id 263 for \"<|start|>\"", "found 262"]),
        (added("263", "<|other|>"), ["`added_tokens_decoder.263`", "id 263 for \"<|other|>\"", "found 265"]),
        (added("268", "<|far|>"), ["`added_tokens_decoder.268`", "id 268 for \"<|far|>\"", "found 265"]),
        (
            added("272", "<|out|>"),
            ["`added_tokens_decoder.272`", "below config.json's vocab_size = 272", "\"<|out|>\""],
        ),
        (added("-1", "<|x|>"), ["`added_tokens_decoder`", "token ids", "\"-1\""]),
        (added("5000000000", "<|x|>"), ["`added_tokens_decoder`", "token ids", "\"5000000000\""]),
        (added("265", ""), ["`added_tokens_decoder.265`", "id 265 for \"\"", "none"]),
        (
            json!({"added_tokens_decoder": {"265": {"content": "a"}, "0265": {"content": "b"}}}),
            ["`added_tokens_decoder`", "every id once", "265 twice"],
        ),
        (json!({"added_tokens_decoder": {"265": {}}}), ["`added_tokens_decoder.265.content`", "a string", "nothing"]),
        (json!({"added_tokens_decoder": {"265": 1}}), ["`added_tokens_decoder.265`", "an object", "1"]),
        (json!({"added_tokens_decoder": []}), ["`added_tokens_decoder`", "an object", "[]"]),
        (json!({"eos_token": 3}), ["`eos_token`", "a token", "3"]),
        (json!({"extra_special_tokens": ["a", 3]}), ["`extra_special_tokens[1]`", "a token", "3"]),
        (json!({"extra_special_tokens": "a"}), ["`extra_special_tokens`", "an array or an object of tokens", "\"a\""]),
    ] {
        configured(&config).assert_refused("tokenizer_config.json", &parts);
    }
}

#[test]
fn a_fault_of_the_configuration_is_found_once() {
    for fault in ["{", r#"{"eos_token": 3}"#, r#"{"added_tokens_decoder": {"271": {"content": "<|far|>"}}}"#] {
        let tiny = TinyCheckpoint::new();
        tiny.write("tokenizer_config.json", fault);
        let faults = Examination::of(tiny.path()).expect("a directory").faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].to_string().contains("tokenizer_config.json"), "{}", faults[0]);
    }
}
