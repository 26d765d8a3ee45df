//! A published model in a published file, held against transformers: `tests/golden/smollm2.sh` fetches it. Without it, there
//! is nothing to hold.

use std::path::PathBuf;

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint};
use serde::Deserialize;

use crate::support::{exact_world, generate};

/// Names the file.
const VARIABLE: &str = "LOQUENT_SMOLLM2_GGUF";

#[derive(Deserialize)]
struct Golden {
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Chat {
    prompt: String,
    text: String,
    ids: Vec<u32>,
    tokens: Vec<u32>,
}

#[test]
fn smollm2_says_what_transformers_says() {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        eprintln!(
            "skipped: {VARIABLE} does not name SmolLM2-135M-Instruct.Q4_1.gguf (tests/golden/smollm2.sh fetches it)"
        );
        return;
    };
    let golden: Golden = serde_json::from_str(include_str!("../golden/smollm2.json")).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let (tokenizer, template) = (checkpoint.tokenizer.unwrap(), checkpoint.chat_template.unwrap());
    let mut world = exact_world(&path);
    for Chat { prompt, text, ids, tokens } in golden.chats {
        let rendered = template.render(&[ChatMessage::new("user", &*prompt)], &ChatOptions::default()).unwrap();
        assert_eq!(rendered, text, "{prompt}");
        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids, "{prompt}");
        let found = generate(&mut world, &ids, tokens.len());
        assert_eq!(found, tokens, "{prompt}: {:?}", tokenizer.decode(&found, false));
    }
}
