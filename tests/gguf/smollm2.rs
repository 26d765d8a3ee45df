//! A published model in a published file, held against transformers: `tests/golden/smollm2.sh` fetches it. Without it, there
//! is nothing to hold.

use std::ops::ControlFlow;
use std::path::PathBuf;

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint};
use loquent::perplexity::{Scorer, Windows};
use serde::Deserialize;

use crate::support::{exact_world, generate};

/// Names the file.
const VARIABLE: &str = "LOQUENT_SMOLLM2_GGUF";

#[derive(Deserialize)]
struct Golden {
    chats: Vec<Chat>,
    perplexity: Perplexity,
}

#[derive(Deserialize)]
struct Chat {
    prompt: String,
    text: String,
    ids: Vec<u32>,
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Perplexity {
    window: usize,
    stride: usize,
    tokens: usize,
    nll: f64,
    ids: Vec<u32>,
}

/// The file, if there is one, and what transformers makes of it.
fn published() -> Option<(PathBuf, Golden)> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        eprintln!(
            "skipped: {VARIABLE} does not name SmolLM2-135M-Instruct.Q4_1.gguf (tests/golden/smollm2.sh fetches it)"
        );
        return None;
    };
    Some((path.into(), serde_json::from_str(include_str!("../golden/smollm2.json")).unwrap()))
}

#[test]
fn smollm2_says_what_transformers_says() {
    let Some((path, golden)) = published() else { return };
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

#[test]
fn smollm2_is_as_surprised_by_a_text_as_in_transformers() {
    let Some((path, Golden { perplexity, .. })) = published() else { return };
    let Perplexity { window, stride, tokens, nll, ids } = perplexity;
    let tokenizer = Checkpoint::open(&path).unwrap().tokenizer.unwrap();
    assert_eq!(tokenizer.encode(include_str!("../golden/smollm2.txt"), false).unwrap(), ids);
    let windows = Windows::new(window, stride).unwrap();
    let mut scorer = Scorer::new("SmolLM2", exact_world(&path));
    let found = scorer.measure(&ids, windows, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(found.tokens, tokens);
    // Of the perplexity, which is some 23: so much of itself, and so much at all.
    let (found, expected) = (found.perplexity().value, nll.exp());
    assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} for {expected}");
}
