//! A conversation as chat APIs take it in JSON → messages as templates read them. Whoever wrote it is a stranger: what is
//! read is bounded, and every member that anything here or in a template relies on is checked.

#![forbid(unsafe_code)]

mod error;
mod message;
mod tool;

use std::collections::HashSet;
use std::io::Read;

pub use error::MessagesError;
use serde_json::{Map, Value};

use super::chat_message::ChatMessage;
use super::error::{Excerpt, counted};

/// No context holds as much text, and as values, JSON may take forty times as much memory.
const LARGEST: u64 = 16 << 20;

/// A conversation, and the functions that the assistant may call in it.
///
/// As JSON, it is what OpenAI's chat completions take: an array of messages, or an object with `messages` and perhaps
/// `tools`, whose other members are ignored with a warning. A message's `role` is `system`, `developer` (which is read as
/// `system`), `user`, `assistant` or `tool`. Its `content` is text: a string, or a list of parts of type `text`, which are
/// joined with nothing in between, as templates that know of parts write them. The assistant's may be `null` beside
/// `tool_calls`, and a tool's message names one of these in its `tool_call_id`. The `arguments` of a call are an object,
/// or a string that holds one as JSON: templates are given the object. Members that are `null` count as absent, and what
/// else a message has is left for the template.
///
/// A last message that is the assistant's is complete like all others, and a new one of the assistant's follows it, as
/// with transformers unless `continue_final_message` is set.
///
/// ```
/// use loquent::checkpoint::ChatRequest;
///
/// let json = r#"{
///     "messages": [
///         {"role": "user", "content": "How warm is it in Oslo?"},
///         {"role": "assistant", "content": null, "tool_calls": [{
///             "id": "call_1", "type": "function",
///             "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}
///         }]},
///         {"role": "tool", "tool_call_id": "call_1", "content": "-3 °C"}
///     ],
///     "tools": [{"type": "function", "function": {"name": "weather"}}]
/// }"#;
/// let conversation = ChatRequest::read(json.as_bytes())?;
/// assert_eq!((conversation.messages.len(), conversation.tools.len()), (3, 1));
///
/// let wrong = ChatRequest::read(&br#"[{"role": "bot", "content": "Hi"}]"#[..]).unwrap_err();
/// let expected = r#"messages[0].role is "bot": expected system, developer, user, assistant or tool"#;
/// assert_eq!(wrong.to_string(), expected);
/// # Ok::<(), loquent::checkpoint::MessagesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRequest {
    /// What was said, at least one message.
    pub messages: Vec<ChatMessage>,
    /// What [`ChatOptions::tools`](super::ChatOptions::tools) takes.
    pub tools: Vec<Value>,
}

impl ChatRequest {
    /// Reads a conversation of at most 16 MiB of JSON.
    ///
    /// # Errors
    /// If it cannot be read, is longer, is not JSON, or not such a conversation.
    pub fn read(from: impl Read) -> Result<Self, MessagesError> {
        let mut bytes = Vec::new();
        from.take(LARGEST + 1).read_to_end(&mut bytes).map_err(MessagesError::Io)?;
        if bytes.len() as u64 > LARGEST {
            return Err(MessagesError::TooLarge { limit: LARGEST });
        }
        // Editors leave a byte-order mark, and it says nothing.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        Self::from_value(serde_json::from_slice(text).map_err(MessagesError::Json)?)
    }

    /// The conversation that a JSON value is.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_value(value: Value) -> Result<Self, MessagesError> {
        let (messages, tools) = match value {
            Value::Array(messages) => (messages, Vec::new()),
            Value::Object(mut members) => {
                let messages = match members.shift_remove("messages") {
                    Some(Value::Array(messages)) => messages,
                    other => return Err(MessagesError::member("messages", other.as_ref(), "an array of messages")),
                };
                let tools = match members.shift_remove("tools") {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(tools)) => tools,
                    other => return Err(MessagesError::member("tools", other.as_ref(), "an array of tools")),
                };
                warn_of_ignored(&members);
                (messages, tools)
            }
            other => {
                let expected = "an array of messages, or an object with `messages`";
                return Err(MessagesError::member("the conversation", Some(&other), expected));
            }
        };
        if messages.is_empty() {
            return Err(MessagesError::member("messages", Some(&messages.into()), "at least one message"));
        }
        for (index, tool) in tools.iter().enumerate() {
            tool::check_definition(&format!("tools[{index}]"), tool)?;
        }
        let mut calls = HashSet::new();
        let read = |(index, message)| message::read(&format!("messages[{index}]"), message, &mut calls);
        Ok(Self { messages: messages.into_iter().enumerate().map(read).collect::<Result<_, _>>()?, tools })
    }

    /// With a system message before all others; if the first is one already, with a text and a blank line before its own.
    #[must_use]
    pub fn with_system(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.messages.first_mut().filter(|first| first.is_system()) {
            Some(first) => {
                let text = [&text, first.content().unwrap_or_default()].join("\n\n");
                *first = first.clone().with("content", text);
            }
            None => self.messages.insert(0, ChatMessage::new("system", text)),
        }
        self
    }
}

/// Names what a request says beside its conversation.
fn warn_of_ignored(members: &Map<String, Value>) {
    const MOST: usize = 16;
    let names: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
    if names.is_empty() {
        return;
    }
    let shown: Vec<_> = names.iter().take(MOST).map(|name| Excerpt(name).to_string()).collect();
    let more = match names.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {}", counted(more, "other")),
    };
    tracing::warn!("only `messages` and `tools` are read: {}{more} ignored", shown.join(", "));
}
