//! Where a prompt may come from.

use std::path::PathBuf;

use crate::{failure, fixture, json_lines, loquent, stdout, success};

#[test]
fn a_chat_answers_without_repeating_the_question() {
    let text = success(&["generate", "--chat", "Tell me a story about a cat.", "-n", "30", "-s", "1"]);
    assert!(!text.contains("Tell me") && text.trim().len() > 20, "{text}");
}

#[test]
fn token_ids_work_without_a_tokenizer() {
    let model = fixture("tied-bf16");
    let arguments = ["generate", "-m", &model, "--prompt-ids", "1, 2,3", "-n", "5", "--temp", "0"];
    let text = success(&arguments);
    let ids: Vec<u32> = text.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    assert_eq!(ids.len(), 5);
    let json = json_lines(&success(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(json[4]["id"], ids[4]);
    assert_eq!(json[4]["text"], "");
}

#[test]
fn the_prompt_may_come_from_a_file_or_stdin() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prompt.txt");
    std::fs::write(&file, "The little bird\n").expect("a file");
    let expected = success(&["generate", "The little bird", "-n", "9", "-s", "3"]);
    assert_eq!(success(&["generate", "-f", file.to_str().expect("a path"), "-n", "9", "-s", "3"]), expected);
    for arguments in [&["generate", "-n", "9", "-s", "3"][..], &["generate", "-f", "-", "-n", "9", "-s", "3"]] {
        let piped =
            loquent(arguments).stdin(std::fs::File::open(&file).expect("a file")).output().expect("the binary runs");
        assert_eq!(stdout(&piped), expected, "{arguments:?}");
    }
}

#[test]
fn a_wrong_prompt_is_named() {
    let model = fixture("tied-bf16");
    let message = failure(&["generate", "-m", &model, "--prompt-ids", "1,288"], 1);
    assert!(message.contains("prompt token 1 is 288: expected an id below the vocabulary size, 288"), "{message}");
    let message = failure(&["generate", ""], 1);
    assert!(message.contains("the prompt is empty"), "{message}");
    let message = failure(&["generate", "-m", &model, "text"], 1);
    assert!(message.contains("a text prompt needs a tokenizer") && message.contains("tokenizer.json"), "{message}");
    let message = failure(&["generate", "-m", &model, "--prompt-ids", "1", "--stop", "x"], 1);
    assert!(message.contains("a stop text needs a tokenizer"), "{message}");
    let message = failure(&["generate", "-f", "no/such/file"], 1);
    assert!(message.contains("cannot read no/such/file"), "{message}");
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("bytes");
    std::fs::write(&file, b"abc\xff").expect("a file");
    let message = failure(&["generate", "-f", file.to_str().expect("a path")], 1);
    assert!(message.contains("is not UTF-8 text: byte 3 is 0xff"), "{message}");
}

#[test]
fn a_prompt_may_begin_with_a_hyphen() {
    for text in ["-x", "- a list", "--", "-n"] {
        let expected = format!("{text}\n");
        assert_eq!(success(&["generate", "-n", "0", "-p", text]), expected);
        assert_eq!(success(&["generate", &format!("--prompt={text}"), "-n", "0"]), expected);
        assert_eq!(success(&["generate", "-n", "0", "--", text]), expected);
    }
    assert_eq!(success(&["generate", "-p=-x", "-n", "0"]), "-x\n");
}

#[test]
fn a_prompt_is_the_same_wherever_it_stands() {
    let expected = success(&["generate", "The little bird", "-n", "9", "-s", "3"]);
    assert_eq!(success(&["generate", "-p", "The little bird", "-n", "9", "-s", "3"]), expected);
    let asked = ["--chat", "--system", "Be brief.", "-n", "9", "-s", "3"];
    let answer = success(&[&["generate", "Hello"], &asked[..]].concat());
    assert_eq!(success(&[&["generate", "--prompt", "Hello"], &asked[..]].concat()), answer);
}
