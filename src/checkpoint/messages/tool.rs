//! Functions that an assistant may call, and its calls of them.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::MessagesError;

/// Checks the definition of a tool at `place`.
pub(super) fn check_definition(place: &str, tool: &Value) -> Result<(), MessagesError> {
    let Value::Object(members) = tool else {
        return Err(MessagesError::member(place, Some(tool), "an object with `type` and `function`"));
    };
    check_type(place, members)?;
    match members.get("function") {
        Some(Value::Object(function)) => text(&format!("{place}.function"), function, "name").map(drop),
        other => Err(MessagesError::member(format!("{place}.function"), other, "an object with `name`")),
    }
}

/// Reads the tool call at `place`: makes an object of its arguments, and says its id.
pub(super) fn read_call(place: &str, call: &mut Value) -> Result<String, MessagesError> {
    let members = match call {
        Value::Object(members) => members,
        other => return Err(MessagesError::member(place, Some(other), "an object with `id` and `function`")),
    };
    let id = text(place, members, "id")?.to_owned();
    check_type(place, members)?;
    let place = format!("{place}.function");
    let function = match members.get_mut("function") {
        Some(Value::Object(function)) => function,
        other => return Err(MessagesError::member(place, other.as_deref(), "an object with `name` and `arguments`")),
    };
    text(&place, function, "name")?;
    let arguments = arguments(&format!("{place}.arguments"), function.get("arguments"))?;
    function.insert("arguments".into(), arguments.into());
    Ok(id)
}

/// The arguments of a call. APIs write them as the model did, as text; templates name them one by one.
fn arguments(place: &str, arguments: Option<&Value>) -> Result<Map<String, Value>, MessagesError> {
    let error = |found, but| MessagesError::member(place, found, format!("a string that holds a JSON object{but}"));
    match arguments {
        Some(Value::Object(arguments)) => Ok(arguments.clone()),
        // As some clients write that there are none.
        Some(Value::String(text)) if text.is_empty() => Ok(Map::new()),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Ok(arguments),
            Ok(_) => Err(error(arguments, String::new())),
            Err(not_json) => Err(error(arguments, format!(" ({not_json})"))),
        },
        other => Err(error(other, String::new())),
    }
}

fn check_type(place: &str, members: &Map<String, Value>) -> Result<(), MessagesError> {
    match members.get("type") {
        Some(kind) if kind != "function" => {
            Err(MessagesError::member(format!("{place}.type"), Some(kind), "function, the only type of tool"))
        }
        _ => Ok(()),
    }
}

fn text<'a>(place: &str, members: &'a Map<String, Value>, name: &str) -> Result<&'a str, MessagesError> {
    let value = members.get(name);
    value.and_then(Value::as_str).ok_or_else(|| MessagesError::member(format!("{place}.{name}"), value, "a string"))
}
