//! A message of a conversation, as templates and chat APIs know it.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One turn of a conversation: an object with the fields that templates read, by the names that they are known by from
/// chat APIs. `role` says who speaks (`system`, `user`, `assistant`, `tool`) and `content` what they say; there may be
/// `tool_calls`, `tool_call_id`, `name`, `reasoning_content` and whatever else a template knows of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(opaque, Clone, Debug, PartialEq))]
pub struct ChatMessage(Map<String, Value>);

impl ChatMessage {
    /// A message of text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self(Map::new()).with("role", role.into()).with("content", content.into())
    }

    /// Who speaks, if it says so.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.0.get("role")?.as_str()
    }

    /// What they say, if it is text.
    #[must_use]
    pub fn content(&self) -> Option<&str> {
        self.0.get("content")?.as_str()
    }

    /// With a further field, or another value of one: `content` may be a list of parts, for example.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    pub(super) fn is_system(&self) -> bool {
        self.role() == Some("system")
    }
}

/// The fields as they are.
impl From<Map<String, Value>> for ChatMessage {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}
