//! Text goes in and out as with transformers. `tests/fixtures/make.py` froze its answers.

use std::path::Path;

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint};
use serde::Deserialize;

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
