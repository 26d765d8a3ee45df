//! What the binary promises to its users: what goes where, what it exits with, and what it says when it cannot.

mod backend;
mod bench;
mod chat;
mod drafts;
mod endings;
mod hub;
mod messages;
mod output;
mod prompt;
mod template;
mod usage;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn loquent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    let (subcommand, rest) = arguments.split_at(1.min(arguments.len()));
    command.args(subcommand);
    let computes = matches!(subcommand, ["generate" | "chat" | "bench" | "perplexity"]);
    if computes && !rest.contains(&"--backend") {
        // The same on every machine, whatever graphics card is in it.
        command.args(["--backend", "cpu"]);
    }
    command.args(rest).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    // No test asks the real hub.
    command.env("HF_HUB_OFFLINE", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    loquent(arguments).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on stdout")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr")
}

/// Stdout of a run that must succeed.
fn success(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Stderr of a run that must fail with `code` and write nothing to stdout.
fn failure(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{arguments:?}");
    let message = stderr(&output);
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn fixture(name: &str) -> String {
    format!("tests/fixtures/{name}")
}

/// The model of a folder with another chat template.
fn model_with_template(model: &str, template: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(model).expect("the model") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
    }
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("a template");
    folder
}

/// A run whose reader closes the pipe before anything is written.
fn run_into_closed_pipe(arguments: &[&str]) -> Output {
    let mut child = loquent(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    child.wait_with_output().expect("it ends")
}
