//! Conversations in JSON.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::{failure, loquent, run, stderr, stdout, success};

/// A folder with one file, and the file's path.
fn file(content: impl AsRef<[u8]>) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.json");
    fs::write(&path, content).expect("a file");
    let name = path.to_str().expect("a path").to_owned();
    (folder, name)
}

fn answer(content: &str, arguments: &[&str]) -> Output {
    let (_folder, name) = file(content);
    run(&[&["generate", "--messages", &name, "-n", "9", "-s", "3"], arguments].concat())
}

fn refusal(content: impl AsRef<[u8]>) -> String {
    let (_folder, name) = file(content);
    let message = failure(&["generate", "--messages", &name], 1);
    assert!(message.starts_with(&format!("error: {name}: ")), "{message}");
    message
}

#[test]
fn a_conversation_is_answered_as_with_chat() {
    let expected = success(&["generate", "--chat", "--system", "Be brief.", "Hello", "-n", "9", "-s", "3"]);
    assert!(!expected.trim().is_empty());
    let messages = json!([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]);
    for content in [messages.clone(), json!({"messages": messages})] {
        let output = answer(&content.to_string(), &[]);
        assert_eq!(stdout(&output), expected, "{}", stderr(&output));
        assert!(!stderr(&output).contains("WARN"), "{}", stderr(&output));
    }
    let user = json!([{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]);
    assert_eq!(stdout(&answer(&user.to_string(), &["--system", "Be brief."])), expected);
}

#[test]
fn a_conversation_may_come_from_stdin() {
    let (_folder, name) = file(r#"[{"role": "user", "content": "Hello"}]"#);
    let expected = success(&["generate", "--messages", &name, "-n", "9", "-s", "3"]);
    let mut command = loquent(&["generate", "--messages", "-", "-n", "9", "-s", "3"]);
    let piped = command.stdin(fs::File::open(Path::new(&name)).expect("a file")).output().expect("the binary runs");
    assert_eq!(stdout(&piped), expected, "{}", stderr(&piped));
    let mut command = loquent(&["generate", "--messages", "-"]);
    let empty = command.stdin(Stdio::null()).output().expect("the binary runs");
    assert!(stderr(&empty).starts_with("error: stdin: not JSON: EOF"), "{}", stderr(&empty));
}

#[test]
fn an_answer_ends_where_the_assistants_messages_end() {
    let (_folder, name) = file(r#"[{"role": "user", "content": "Tell me a story."}]"#);
    let text = success(&["generate", "--messages", &name, "--json", "-s", "1"]);
    assert!(text.contains(r#""finish_reason":"stop""#), "{text}");
}

#[test]
fn what_is_ignored_is_said() {
    let request = json!({"model": "m", "temperature": 2, "messages": [{"role": "user", "content": "Hello"}]});
    let output = answer(&request.to_string(), &[]);
    assert!(output.status.success());
    let log = stderr(&output);
    assert!(log.contains("WARN") && log.contains(r#""model", "temperature" ignored"#), "{log}");
}

#[test]
fn a_wrong_conversation_is_named() {
    let message = refusal(r#"[{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]"#);
    assert!(message.contains(r#"messages[1].role is "bot": expected system, developer, user"#), "{message}");
    let message = refusal(r#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]"#);
    assert!(
        message.contains(r#"messages[0].content[0].type is "image_url": expected text, which is all"#),
        "{message}"
    );
    let message =
        refusal(r#"[{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]"#);
    assert!(message.contains("messages[0].tool_calls[0].function.arguments is \"{\": expected a string"), "{message}");
    let message = refusal("[\n{]");
    assert!(message.contains("not JSON: key must be a string at line 2 column 2"), "{message}");
    assert!(refusal("").contains("not JSON: EOF while parsing"));
    assert!(refusal(vec![b' '; (16 << 20) + 1]).contains("expected at most 16777216"));
    let message = failure(&["generate", "--messages", "no/such/file"], 1);
    assert!(message.contains("cannot read no/such/file: "), "{message}");
}
