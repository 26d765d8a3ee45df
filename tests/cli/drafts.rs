//! What `--draft` promises: the same text in fewer passes, and a word about what cannot guess.

use serde_json::Value;

use crate::{failure, fixture, json_lines, success};

const ASKED: [&str; 10] =
    ["generate", "Once upon a time", "-n", "60", "-s", "7", "--temp", "0.6", "--json", "--ignore-eos"];

fn said(arguments: &[&str]) -> (Vec<Value>, Value) {
    let mut lines = json_lines(&success(&[&ASKED[..], arguments].concat()));
    let done = lines.pop().expect("a line");
    (lines, done)
}

#[test]
fn whatever_guesses_the_text_is_the_same_and_the_last_line_says_what_came_of_it() {
    let (plain, done) = said(&[]);
    assert!(done.get("draft").is_none());
    for draft in ["lookup", "mtp", "assets/demo"] {
        let (found, done) = said(&["--draft", draft]);
        assert_eq!(found, plain, "{draft}");
        let record = &done["draft"];
        let number = |field: &str| record[field].as_f64().expect("a number");
        assert!(number("accepted") <= number("drafted"));
        let tokens = 1.0 + number("accepted") / number("passes");
        assert!((number("tokens_per_pass") - tokens).abs() < 1e-9);
        assert!(draft == "lookup" || number("drafted") > 0.0, "{draft}: {record}");
    }
}

#[test]
fn what_cannot_guess_is_named() {
    let message = failure(&["generate", "a", "--draft", "no/such/model"], 1);
    assert!(message.contains("no/such/model"), "{message}");
    let message = failure(&["generate", "a", "--draft", &fixture("tokenizer-bf16")], 1);
    assert!(message.contains("tokenizer-bf16") && message.contains("its token"), "{message}");
    let message = failure(&["generate", "a", "-m", &fixture("tokenizer-bf16"), "--draft", "mtp"], 1);
    assert!(message.contains("mtp") && message.contains("tokenizer-bf16"), "{message}");
    let message = failure(&["generate", "--prompt-ids", "1", "-m", &fixture("quarot-published"), "--draft", "mtp"], 1);
    assert!(message.contains("mtp") && message.contains("quarot-published"), "{message}");
    let message = failure(&["generate", "a", "--draft", ""], 2);
    assert!(message.contains("expected lookup, mtp, or a model"), "{message}");
}
