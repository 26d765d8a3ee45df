//! When a text ends, and what is said of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{failure, fixture, json_lines, loquent, run, stderr, stdout, success};

#[test]
fn a_stop_string_ends_the_text_before_it_even_across_tokens() {
    let whole = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0"]);
    // From the middle of a word to the middle of another: no token holds all of it.
    let start = "Once upon a time".len() + 40;
    let stop = &whole[start..start + 15];
    let first = whole["Once upon a time".len()..].find(stop).expect("there") + "Once upon a time".len();
    let cut = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0", "--stop", stop]);
    assert_eq!(cut, format!("{}\n", &whole[..first]));
    let json = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0", "--stop", stop, "--json"]);
    assert_eq!(json_lines(&json).last().expect("a line")["finish_reason"], "stop");
}

#[test]
fn end_of_sequence_ends_the_text_unless_ignored() {
    let ends = json_lines(&success(&["generate", "Once upon a time", "--json", "-s", "1"]));
    let done = ends.last().expect("a line");
    assert_eq!(done["finish_reason"], "stop", "a story of the demo ends by itself");
    let length = done["new_tokens"].as_u64().expect("a count") + 5;
    let arguments = ["generate", "Once upon a time", "--json", "-s", "1", "--ignore-eos", "-n", &length.to_string()];
    let goes_on = json_lines(&success(&arguments));
    assert_eq!(goes_on.last().expect("a line")["finish_reason"], "length");
}

#[test]
fn what_cannot_fit_the_context_is_an_error_before_any_work() {
    let message = failure(&["generate", "Once upon a time", "-c", "1000000"], 1);
    assert!(message.contains("--ctx-size is 1000000: expected 0 to"), "{message}");
    let message = failure(&["generate", "Once upon a time", "-c", "2"], 1);
    assert!(message.contains("no room for a new token") && message.contains("the context has 2"), "{message}");
    // A prompt that fills it to the last token.
    let message = failure(&["generate", "--prompt-ids", "1,2,3", "-c", "3"], 1);
    assert!(message.contains("it has 3 tokens, and the context has 3"), "{message}");
}

/// How a run ends, how many tokens it makes, and what it says on stderr.
fn end_of(arguments: &[&str]) -> (String, u64, String) {
    let output = run(&[&["generate", "Once upon a time", "--temp", "0", "--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    let done = json_lines(&stdout(&output)).pop().expect("a line");
    let (reason, count) = (done["finish_reason"].as_str(), done["new_tokens"].as_u64());
    (reason.expect("a reason").to_owned(), count.expect("a count"), stderr(&output))
}

#[test]
fn more_tokens_than_fit_are_as_many_as_fit_and_a_warning() {
    let (reason, count, log) = end_of(&["-n", "60", "-c", "40", "--ignore-eos"]);
    let room = 40 - count_of_prompt();
    assert_eq!((reason.as_str(), count), ("length", room));
    assert!(log.contains("WARN") && log.contains("-n is 60") && log.contains(&format!("leaves {room}")), "{log}");
    // Where the end comes first, nothing was lost.
    assert_eq!(end_of(&["-n", "100000"]).0, "stop");
    // Just as many as fit are no reason to warn, nor is what nobody asked for.
    for arguments in [&["-n", &room.to_string(), "-c", "40"][..], &["-c", "40"], &["-n", "-1", "-c", "40"]] {
        let (reason, count, log) = end_of(&[arguments, &["--ignore-eos"]].concat());
        assert_eq!((reason.as_str(), count), ("length", room), "{arguments:?}");
        assert!(!log.contains("WARN"), "{arguments:?}: {log}");
    }
}

fn count_of_prompt() -> u64 {
    let text = success(&["generate", "Once upon a time", "-n", "0", "--json"]);
    json_lines(&text).pop().expect("a line")["prompt_tokens"].as_u64().expect("a count")
}

#[test]
fn without_a_limit_a_text_goes_on_until_it_ends_or_the_context_does() {
    let (reason, count, _) = end_of(&["-n", "-1"]);
    assert_eq!(reason, "stop");
    assert_eq!(end_of(&["-n", "-2"]).1, count);
    assert_eq!(end_of(&["-n", "-1", "-c", "0"]).1, count, "a context of 0 is the model's");
}

#[test]
fn a_stop_string_may_be_a_special_token() {
    let arguments = ["generate", "Once upon a time", "--temp", "0", "--ignore-eos", "-n", "400", "--json"];
    let lines = json_lines(&success(&arguments));
    let ends = ["generate", "Once upon a time", "--temp", "0", "-n", "400", "--json"];
    let count = json_lines(&success(&ends)).pop().expect("a line")["new_tokens"].as_u64().expect("a count") as usize;
    let stop = special_token_of_the_demo(lines[count - 1]["id"].as_u64().expect("an id"));
    let stopped = json_lines(&success(&[&arguments[..], &["--stop", &stop]].concat()));
    let done = stopped.last().expect("a line");
    assert_eq!((&done["finish_reason"], &done["new_tokens"]), (&"stop".into(), &count.into()));
    assert!(stopped.iter().all(|line| !line["text"].as_str().expect("text").contains(&stop)), "it is not shown");
}

fn special_token_of_the_demo(id: u64) -> String {
    let text = std::fs::read_to_string("assets/demo-q4/tokenizer.json").expect("a tokenizer");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let added = file["added_tokens"].as_array().expect("added tokens");
    let token = added.iter().find(|token| token["id"] == id).expect("a story ends with a special token");
    token["content"].as_str().expect("text").to_owned()
}

#[test]
fn what_ends_a_text_is_said_where_more_is_asked_for() {
    let model = fixture("tokenizer-bf16");
    let log = |arguments: &[&str]| stderr(&run(&[&["generate", "-m", &model, "-n", "1"], arguments].concat()));
    assert!(!log(&["--chat", "Hi"]).contains("ends the text"));
    let said = log(&["--chat", "Hi", "-v"]);
    assert!(said.contains("token 2, \"<|im_end|>\", ends the text: generation_config.json"), "{said}");
    assert_eq!(said.matches("ends the text").count(), 2, "{said}");
    assert!(!log(&["Hi", "-v", "--ignore-eos"]).contains("ends the text"));
}

#[test]
fn a_penalty_that_overflows_is_not_blamed_on_the_weights() {
    for penalty in ["1e-38", "3e38"] {
        success(&["generate", "Once Once", "--repeat-penalty", penalty, "-n", "4", "--temp", "0"]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_generated_and_exits_with_130() {
    let mut child = loquent(&["generate", "Once upon a time", "--ignore-eos", "--json", "-n", "1500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("a token");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("what is left");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let done = json_lines(&rest).pop().expect("a last line");
    assert_eq!((&done["event"], &done["finish_reason"]), (&"done".into(), &"interrupted".into()));
    assert_eq!(done["new_tokens"], rest.lines().count(), "a line for each token, the first and the last");
}
