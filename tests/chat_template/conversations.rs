//! Conversations as chat APIs take them, read and rendered.

use loquent::checkpoint::{ChatMessage, ChatOptions, ChatRequest};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::damage::{any_json, with_any_value};
use crate::load;
use crate::logged::logged;

const GOLDEN: &str = include_str!("../golden/conversations.json");
const TOOLS: &str = include_str!("../golden/tools.jinja");

#[derive(Deserialize)]
struct Golden {
    about: String,
    given: Value,
    text: String,
}

fn read(conversation: &Value) -> Result<ChatRequest, String> {
    ChatRequest::read(conversation.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_chat_apis_take_reaches_the_template_as_with_transformers() {
    let conversations: Vec<Golden> = serde_json::from_str(GOLDEN).unwrap();
    assert!(conversations.len() >= 5);
    let template = load(TOOLS);
    for Golden { about, given, text } in conversations {
        let ChatRequest { messages, tools } = read(&given).expect(&about);
        let options = ChatOptions { tools, ..ChatOptions::default() };
        assert_eq!(template.render(&messages, &options).expect(&about), text, "{about}");
    }
}

/// A conversation with a call of a tool and its result, as a place for what is wrong.
fn with_tools() -> Value {
    json!({
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "How warm "}, {"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call", "type": "function", "function": {"name": "weather", "arguments": "{\"at\": [1]}"}},
            ]},
            {"role": "tool", "tool_call_id": "call", "content": "-3"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    })
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let missing = Value::Null;
    for (place, value, expected) in [
        ("", json!("x"), r#"the conversation is "x": expected an array of messages, or an object with `messages`"#),
        ("", json!({}), "messages is missing: expected an array of messages"),
        ("", json!([]), "messages is []: expected at least one message"),
        ("/messages", json!({}), "messages is an object with 0 fields: expected an array of messages"),
        ("/tools", json!(1), "tools is 1: expected an array of tools"),
        ("/tools/0", json!(true), "tools[0] is true: expected an object with `type` and `function`"),
        ("/tools/0/type", json!("web_search"), r#"tools[0].type is "web_search": expected function"#),
        ("/tools/0/function", missing.clone(), "tools[0].function is null: expected an object with `name`"),
        ("/tools/0/function", json!({}), "tools[0].function.name is missing: expected a string"),
        ("/messages/3", json!(["a"]), r#"messages[3] is ["a"]: expected an object with `role` and `content`"#),
        (
            "/messages/3/role",
            json!("bot"),
            r#"messages[3].role is "bot": expected system, developer, user, assistant or tool"#,
        ),
        ("/messages/3/role", missing.clone(), "messages[3].role is missing: expected system"),
        (
            "/messages/0/content",
            missing.clone(),
            "messages[0].content is missing: expected a string, or a list of parts",
        ),
        (
            "/messages/0/content",
            json!(7),
            "messages[0].content is 7: expected a string, or a list of parts of type text",
        ),
        ("/messages/1/content/1", json!("is"), r#"messages[1].content[1] is "is": expected an object with `type`"#),
        (
            "/messages/1/content/1",
            json!({"type": "image_url", "image_url": {"url": "data:"}}),
            r#"messages[1].content[1].type is "image_url": expected text, which is all that can be read"#,
        ),
        ("/messages/1/content/1/text", json!(1), "messages[1].content[1].text is 1: expected a string"),
        (
            "/messages/1/tool_calls",
            json!([1]),
            "messages[1].tool_calls is [1]: expected none in a message of role user",
        ),
        ("/messages/2/tool_calls", json!([]), "messages[2].content is missing: expected a string"),
        ("/messages/2/tool_calls", json!("x"), r#"messages[2].tool_calls is "x": expected an array of tool calls"#),
        ("/messages/2/tool_calls/0", json!(2), "messages[2].tool_calls[0] is 2: expected an object with `id`"),
        ("/messages/2/tool_calls/0/id", json!(3), "messages[2].tool_calls[0].id is 3: expected a string"),
        ("/messages/2/tool_calls/0/type", json!("custom"), r#"tool_calls[0].type is "custom": expected function"#),
        ("/messages/2/tool_calls/0/function", missing.clone(), "tool_calls[0].function is null: expected an object"),
        (
            "/messages/2/tool_calls/0/function/name",
            missing.clone(),
            "tool_calls[0].function.name is null: expected a str",
        ),
        (
            "/messages/2/tool_calls/0/function/arguments",
            json!("{'at': 1}"),
            r#"messages[2].tool_calls[0].function.arguments is "{'at': 1}": expected a string that holds a JSON object (key"#,
        ),
        (
            "/messages/2/tool_calls/0/function/arguments",
            json!("[1]"),
            r#"messages[2].tool_calls[0].function.arguments is "[1]": expected a string that holds a JSON object"#,
        ),
        (
            "/messages/2/tool_calls/0/function/arguments",
            json!([1]),
            "messages[2].tool_calls[0].function.arguments is [1]: expected a string that holds a JSON object",
        ),
        (
            "/messages/3/tool_call_id",
            json!("cell"),
            r#"messages[3].tool_call_id is "cell": expected the id of a tool call in an earlier message"#,
        ),
        ("/messages/3/tool_call_id", missing.clone(), "messages[3].tool_call_id is missing: expected the id"),
    ] {
        let mut wrong = with_tools();
        match (wrong.pointer_mut(place), place.rsplit_once('/')) {
            (Some(there), _) => *there = value,
            (None, Some((parent, member))) => wrong.pointer_mut(parent).expect(place)[member] = value,
            (None, None) => panic!("{place}"),
        }
        let error = read(&wrong).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
    assert!(read(&with_tools()).is_ok());
}

#[test]
fn a_result_before_its_call_is_refused() {
    let mut wrong = with_tools();
    wrong["messages"].as_array_mut().unwrap().swap(2, 3);
    let error = read(&wrong).unwrap_err();
    assert!(error.starts_with(r#"messages[2].tool_call_id is "call": expected the id of a tool call"#), "{error}");
}

#[test]
fn text_that_is_no_conversation_is_refused_in_bounded_memory() {
    let error = |bytes: &[u8]| ChatRequest::read(bytes).unwrap_err().to_string();
    assert_eq!(error(b""), "not JSON: EOF while parsing a value at line 1 column 0");
    assert!(error(b"[{\"role\": \"us\xff\"}]").starts_with("not JSON: invalid unicode code point at line 1"));
    assert!(error(b"[1] 2").starts_with("not JSON: trailing characters"));
    assert!(error("[".repeat(100_000).as_bytes()).starts_with("not JSON: recursion limit exceeded"));
    let endless = ChatRequest::read(std::io::repeat(b' ')).unwrap_err().to_string();
    assert!(endless.contains("expected at most 16777216"), "{endless}");
    let long = "x".repeat(100_000);
    for wrong in [
        json!(long),
        json!([{"role": long}]),
        json!([{"role": "assistant", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": format!("\"{long}\"")}},
        ]}]),
    ] {
        let message = read(&wrong).unwrap_err();
        assert!(message.len() < 400, "a message of {} bytes", message.len());
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert!(ChatRequest::read("\u{feff}[{\"role\": \"user\", \"content\": \"Hi\"}]".as_bytes()).is_ok());
}

#[test]
fn other_members_of_a_request_are_ignored_by_name() {
    let request = |more: Value| {
        let mut request = with_tools();
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        logged(|| assert_eq!(read(&request), read(&with_tools())))
    };
    assert_eq!(request(json!({"stop": null})), "");
    let log = request(json!({"model": "m", "temperature": 0.5, "stop": null}));
    assert!(log.contains(r#"WARN"#) && log.contains(r#"are read: "model", "temperature" ignored"#), "{log}");
    let many = (0..100).map(|number| (format!("member-{number}"), json!(1))).collect::<serde_json::Map<_, _>>();
    let log = request(many.into());
    assert!(log.contains("\"member-15\" and 84 others ignored") && !log.contains("member-16"), "{log}");
}

#[test]
fn a_system_message_is_put_first() {
    let conversation = |messages: Value| read(&messages).unwrap().with_system("First.");
    let plain = conversation(json!([{"role": "user", "content": "Hi"}]));
    assert_eq!(plain.messages, [ChatMessage::new("system", "First."), ChatMessage::new("user", "Hi")]);
    let merged = conversation(json!([{"role": "developer", "content": "Second.", "name": "d"}]));
    assert_eq!(merged.messages, [ChatMessage::new("system", "First.\n\nSecond.").with("name", "d")]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_value_is_read_and_rendered_or_refused(
        value in prop_oneof![any_json(), with_any_value(with_tools()), with_any_value(with_tools()["messages"].clone())],
    ) {
        match read(&value) {
            Ok(ChatRequest { messages, tools }) => {
                let rendered = load(TOOLS).render(&messages, &ChatOptions { tools, ..ChatOptions::default() });
                let rendered = rendered.map_err(|error| error.to_string());
                prop_assert!(!rendered.is_err_and(|error| error.contains("cannot be rendered")));
            }
            Err(message) => {
                prop_assert!(message.len() < 1000 && !message.contains(char::is_control), "{:?}", message);
            }
        }
    }
}
