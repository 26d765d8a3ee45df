//! One message of a conversation.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::MessagesError;
use super::tool;
use crate::checkpoint::chat_message::ChatMessage;

/// Reads the message at `place`. `calls` are the ids of the tool calls before it, to which it adds its own.
pub(super) fn read(place: &str, message: Value, calls: &mut HashSet<String>) -> Result<ChatMessage, MessagesError> {
    let mut members = match message {
        Value::Object(members) => members,
        other => return Err(MessagesError::member(place, Some(&other), "an object with `role` and `content`")),
    };
    // Clients write down all members they know of.
    members.retain(|_, value| !value.is_null());
    let role = role(place, &members)?;
    members.insert("role".into(), role.into());
    let has_calls = read_calls(place, role, &mut members, calls)?;
    if role == "tool" {
        let id = members.get("tool_call_id");
        if !id.and_then(Value::as_str).is_some_and(|id| calls.contains(id)) {
            let expected = "the id of a tool call in an earlier message";
            return Err(MessagesError::member(format!("{place}.tool_call_id"), id, expected));
        }
    }
    let content = match members.get("content") {
        None if has_calls => Value::Null,
        content => text(&format!("{place}.content"), content)?.into(),
    };
    members.insert("content".into(), content);
    Ok(members.into())
}

fn role(place: &str, members: &Map<String, Value>) -> Result<&'static str, MessagesError> {
    let role = members.get("role");
    Ok(match role.and_then(Value::as_str) {
        // The newer name of the same; templates know the older one.
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("tool") => "tool",
        _ => {
            let expected = "system, developer, user, assistant or tool";
            return Err(MessagesError::member(format!("{place}.role"), role, expected));
        }
    })
}

/// Reads the tool calls of a message, and says whether there are any.
fn read_calls(
    place: &str,
    role: &str,
    members: &mut Map<String, Value>,
    ids: &mut HashSet<String>,
) -> Result<bool, MessagesError> {
    let place = format!("{place}.tool_calls");
    match members.get_mut("tool_calls") {
        None => Ok(false),
        Some(Value::Array(calls)) if role == "assistant" => {
            for (index, call) in calls.iter_mut().enumerate() {
                ids.insert(tool::read_call(&format!("{place}[{index}]"), call)?);
            }
            Ok(!calls.is_empty())
        }
        Some(other) if role == "assistant" => Err(MessagesError::member(place, Some(other), "an array of tool calls")),
        Some(other) => Err(MessagesError::member(place, Some(other), format!("none in a message of role {role}"))),
    }
}

/// The text that a message's content is, in one piece or in several.
fn text(place: &str, content: Option<&Value>) -> Result<String, MessagesError> {
    match content {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            parts.iter().enumerate().map(|(index, part)| part_text(&format!("{place}[{index}]"), part)).collect()
        }
        other => Err(MessagesError::member(place, other, "a string, or a list of parts of type text")),
    }
}

fn part_text<'a>(place: &str, part: &'a Value) -> Result<&'a str, MessagesError> {
    let Value::Object(members) = part else {
        return Err(MessagesError::member(place, Some(part), "an object with `type` and `text`"));
    };
    let kind = members.get("type");
    if kind.and_then(Value::as_str) != Some("text") {
        return Err(MessagesError::member(format!("{place}.type"), kind, "text, which is all that can be read"));
    }
    let text = members.get("text");
    text.and_then(Value::as_str).ok_or_else(|| MessagesError::member(format!("{place}.text"), text, "a string"))
}
