//! The tokenizer that is made of a file's vocabulary is the published one.

use std::fs;
use std::path::{Path, PathBuf};

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint, Tokenizer};
use serde_json::Value;
use tempfile::TempDir;

use crate::gguf::{Gguf, Meta, converted};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-bf16")
}

fn open(change: impl FnOnce(&mut Gguf)) -> (TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut gguf = converted(&fixture());
    change(&mut gguf);
    fs::write(&path, gguf.bytes()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (folder, checkpoint)
}

/// What was published, and what is made of a file's vocabulary.
pub(crate) fn both() -> [Tokenizer; 2] {
    let published = Checkpoint::open(&fixture()).unwrap();
    [published.tokenizer.unwrap(), open(|_| ()).1.tokenizer.unwrap()]
}

#[test]
fn texts_have_the_ids_that_transformers_gives_them() {
    let golden = fs::read_to_string(fixture().join("tokenizer_golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let [_, tokenizer] = both();
    let ids =
        |row: &Value| row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect::<Vec<_>>();
    for row in golden["texts"].as_array().unwrap() {
        assert_eq!(tokenizer.encode(row["text"].as_str().unwrap(), false).unwrap(), ids(row), "{row}");
    }
    for row in golden["texts"].as_array().unwrap().iter().chain(golden["decode_only"].as_array().unwrap()) {
        assert_eq!(tokenizer.decode(&ids(row), false).unwrap(), row["decoded"], "{row}");
        assert_eq!(tokenizer.decode(&ids(row), true).unwrap(), row["without_special"], "{row}");
    }
}

#[test]
fn the_template_and_the_end_tokens_are_the_published_ones() {
    let published = Checkpoint::open(&fixture()).unwrap();
    let (_folder, made) = open(|_| ());
    let messages = [ChatMessage::new("user", "Hello")];
    let render = |checkpoint: &Checkpoint| {
        checkpoint.chat_template.as_ref().unwrap().render(&messages, &ChatOptions::default()).unwrap()
    };
    assert_eq!(render(&published), render(&made));
    let ids = |checkpoint: &Checkpoint, chat| {
        let mut ids: Vec<u32> = checkpoint.end_tokens(chat).into_iter().map(|end| end.id).collect();
        ids.sort_unstable();
        ids
    };
    for chat in [false, true] {
        assert_eq!(ids(&published, chat), ids(&made, chat));
    }
}

#[test]
fn a_file_without_a_vocabulary_has_no_tokenizer() {
    let without = |gguf: &mut Gguf| gguf.pairs.retain(|(key, _)| !key.starts_with(b"tokenizer."));
    let (_folder, checkpoint) = open(without);
    assert!(checkpoint.tokenizer.is_none() && checkpoint.chat_template.is_none());
    let (_folder, checkpoint) = open(|gguf| gguf.set("tokenizer.ggml.model", Meta::Text("none".into())));
    assert!(checkpoint.tokenizer.is_none());
}

/// The tokens that a text is split into, as text.
fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, true).unwrap();
    ids.into_iter().map(|id| tokenizer.decode(&[id], false).unwrap()).collect()
}

/// A vocabulary of all bytes and the tokens that are given, with all merges that make them.
fn with_tokens(splits: &str, tokens: &[&str], change: impl FnOnce(&mut Gguf)) -> Tokenizer {
    let published: Value =
        serde_json::from_str(&fs::read_to_string(fixture().join("tokenizer.json")).unwrap()).unwrap();
    let mut all: Vec<String> = vec!["<s>".into()];
    let vocabulary = published["model"]["vocab"].as_object().unwrap();
    all.extend(vocabulary.keys().filter(|token| token.chars().count() == 1).cloned());
    let mut merges = Vec::new();
    for token in tokens {
        let letters: Vec<char> = token.chars().collect();
        for end in 2..=letters.len() {
            let left: String = letters[..end - 1].iter().collect();
            merges.push(format!("{left} {}", letters[end - 1]));
            all.push(letters[..end].iter().collect());
        }
    }
    all.dedup();
    let mut types = vec![1; all.len()];
    types[0] = 3;
    let (_folder, checkpoint) = open(|gguf| {
        gguf.pairs.retain(|(key, _)| !key.starts_with(b"tokenizer."));
        gguf.add("tokenizer.ggml.model", Meta::Text("gpt2".into()));
        gguf.add("tokenizer.ggml.pre", Meta::Text(splits.into()));
        gguf.add("tokenizer.ggml.tokens", Meta::Texts(all));
        gguf.add("tokenizer.ggml.token_type", Meta::I32s(types));
        gguf.add("tokenizer.ggml.merges", Meta::Texts(merges));
        change(gguf);
    });
    checkpoint.tokenizer.unwrap()
}

#[test]
fn digits_are_split_as_each_kind_splits_them() {
    for (splits, expected) in [
        ("qwen2", &["1", "2", "3", "4", "5"][..]),
        ("qwen35", &["1", "2", "3", "4", "5"]),
        ("deepseek-r1-qwen", &["1", "2", "3", "4", "5"]),
        ("megrez", &["1", "2", "3", "4", "5"]),
        ("smollm", &["1", "2", "3", "4", "5"]),
        ("gpt-2", &["12345"]),
        ("llama-bpe", &["<s>", "123", "4", "5"]),
    ] {
        let tokenizer = with_tokens(splits, &["12345"], |gguf| gguf.add("tokenizer.ggml.bos_token_id", Meta::U32(0)));
        assert_eq!(pieces(&tokenizer, "12345"), expected, "{splits}");
    }
}

#[test]
fn only_qwen_brings_texts_into_normal_form() {
    for (splits, changes) in [("qwen2", true), ("qwen35", true), ("gpt-2", false), ("smollm", false)] {
        let tokenizer = with_tokens(splits, &[], |_| ());
        let ids = tokenizer.encode("e\u{301}", false).unwrap();
        let expected = if changes { "é" } else { "e\u{301}" };
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), expected, "{splits}");
    }
}

#[test]
fn marks_belong_to_words_in_qwen35_alone() {
    // The sign behind a consonant of Devanagari is a mark, which ends a word elsewhere; both letters are three bytes long.
    let word = "ĠनĠ";
    assert_eq!(word.chars().count(), 3);
    let count = |splits: &str| {
        let tokenizer = with_tokens(splits, &[], |_| ());
        tokenizer.encode("a\u{64b}b", false).unwrap().len()
    };
    // Without merges both are bytes: that they are split elsewhere shows where a token crosses the place.
    assert_eq!(count("qwen2"), count("qwen35"));
    let crosses = |splits: &str| {
        let tokenizer = with_tokens(splits, &["aÙĭ"], |_| ());
        pieces(&tokenizer, "a\u{64b}")
    };
    assert_eq!(crosses("qwen35"), ["a\u{64b}"]);
    assert_eq!(crosses("qwen2").len(), 3);
}

#[test]
fn a_token_in_front_is_put_there_if_the_file_or_the_kind_says_so() {
    let begins = |splits: &str, says: Option<bool>| {
        let tokenizer = with_tokens(splits, &[], |gguf| {
            gguf.add("tokenizer.ggml.bos_token_id", Meta::U32(0));
            says.into_iter().for_each(|says| gguf.add("tokenizer.ggml.add_bos_token", Meta::Bool(says)));
        });
        assert_eq!(pieces(&tokenizer, "<s>a").last().unwrap(), "a");
        assert_eq!(tokenizer.encode("a", false).unwrap().len(), 1);
        tokenizer.encode("a", true).unwrap().len() == 2
    };
    for (splits, says, expected) in [
        ("qwen2", None, false),
        ("qwen2", Some(true), true),
        ("llama-bpe", None, true),
        ("llama-bpe", Some(false), false),
        ("smollm", None, false),
    ] {
        assert_eq!(begins(splits, says), expected, "{splits} {says:?}");
    }
}

#[test]
fn llama_takes_a_piece_that_is_a_token_as_it_is() {
    // "abc" is a token, but no merges lead to it.
    let unmerged = |gguf: &mut Gguf| {
        gguf.set("tokenizer.ggml.merges", Meta::Texts(vec!["b c".into()]));
        gguf.add("tokenizer.ggml.add_bos_token", Meta::Bool(false));
    };
    let with = |splits: &str| with_tokens(splits, &["bc", "abc"], unmerged);
    assert_eq!(pieces(&with("llama-bpe"), "abc"), ["abc"]);
    assert_eq!(pieces(&with("gpt-2"), "abc"), ["a", "bc"]);
}
