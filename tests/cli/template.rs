//! What the command line says to the chat template, by templates that repeat it.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{failure, fixture, model_with_template, run, stderr};

/// A model whose chat template fails with the value of `expression`.
fn model_that_says(expression: &str) -> TempDir {
    let template = format!("{{{{ raise_exception('said ' ~ ({expression})|tojson ~ ' so far') }}}}");
    model_with_template(&fixture("tokenizer-bf16"), &template)
}

fn said(expression: &str, arguments: &[&str]) -> Value {
    let model = model_that_says(expression);
    let message = failure(&[&["generate", "-m", model.path().to_str().expect("a path")], arguments].concat(), 1);
    let (_, rest) = message.split_once("said ").expect(&message);
    let (value, _) = rest.split_once(" so far").expect(&message);
    serde_json::from_str(value).expect(value)
}

#[test]
fn thinking_is_on_only_where_it_is_asked_for() {
    assert_eq!(said("enable_thinking", &["--chat", "Hi"]), false);
    assert_eq!(said("enable_thinking", &["--chat", "Hi", "--no-think"]), false);
    assert_eq!(said("enable_thinking", &["--chat", "Hi", "--think"]), true);
}

#[test]
fn template_arguments_are_json_or_else_text() {
    let arguments = ["a=1", "b=x y", r#"c={"d": [null, 2.5]}"#, "e=\"1\"", "f=", "g=x=y", "h=true", "h=false"];
    let flags: Vec<_> = arguments.iter().flat_map(|argument| ["--template-arg", argument]).collect();
    let found = said("[a, b, c, e, f, g, h]", &[&["--chat", "Hi"], &flags[..]].concat());
    assert_eq!(found, json!([1, "x y", {"d": [null, 2.5]}, "1", "", "x=y", false]));
}

#[test]
fn messages_and_tools_come_from_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("messages.json");
    let tools = json!([{"type": "function", "function": {"name": "clock"}}]);
    let call = |arguments: Value| json!([{"id": "c", "function": {"name": "clock", "arguments": arguments}}]);
    let given = json!({"tools": tools, "messages": [
        {"role": "assistant", "content": null, "tool_calls": call(json!("{\"zone\": 1}"))},
        {"role": "tool", "tool_call_id": "c", "content": "9:00"},
    ]});
    fs::write(&file, given.to_string()).expect("a file");
    let found = said("[messages, tools]", &["--messages", file.to_str().expect("a path"), "--system", "S", "--think"]);
    let messages = json!([
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": null, "tool_calls": call(json!({"zone": 1}))},
        {"role": "tool", "tool_call_id": "c", "content": "9:00"},
    ]);
    assert_eq!(found, json!([messages, tools]));
}

#[test]
fn what_the_renderer_sets_itself_is_no_template_argument() {
    for name in ["messages", "tools", "add_generation_prompt", "enable_thinking"] {
        let message = failure(&["generate", "--chat", "Hi", "--template-arg", &format!("{name}=1")], 2);
        assert!(message.contains(&format!("a template argument is named {name}: expected none of")), "{message}");
        assert!(message.contains("--think and --no-think"), "{message}");
    }
    let message = failure(&["generate", "--chat", "Hi", "--template-arg", "name"], 2);
    assert!(message.contains("expected NAME=VALUE"), "{message}");
}

#[test]
fn without_a_conversation_there_is_nothing_to_say_to_a_template() {
    for arguments in [&["--think"][..], &["--no-think"], &["--template-arg", "a=1"]] {
        let message = failure(&[&["generate", "Hi"], arguments].concat(), 2);
        assert!(message.contains("--think, --no-think and --template-arg need --chat or --messages"), "{message}");
    }
    let message = stderr(&run(&["generate", "Hi", "--system", "S"]));
    assert!(message.contains("--chat") && message.contains("--messages <FILE>"), "{message}");
}
