//! Variables that only some templates know of.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

/// Set by the renderer from what it is given besides.
const RESERVED: [&str; 4] = ["messages", "tools", "add_generation_prompt", "enable_thinking"];

/// Further variables of a chat template, by name: what elsewhere is called `chat_template_kwargs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateArgs(Map<String, Value>);

impl TemplateArgs {
    /// Adds a variable, or sets it anew. It may also have the name of a special token, such as `bos_token`, whose place it
    /// then takes.
    ///
    /// # Errors
    /// If it has the name of one that the renderer sets: `messages`, `tools`, `add_generation_prompt` or `enable_thinking`.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Result<(), ReservedName> {
        let name = name.into();
        if RESERVED.contains(&name.as_str()) {
            return Err(ReservedName(name));
        }
        self.0.insert(name, value.into());
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, Value)> + '_ {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone()))
    }
}

/// A template argument of this name would take the place of a variable that the renderer sets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a template argument is named {0}: expected none of {reserved}, which are set otherwise", reserved = RESERVED.join(", "))]
pub struct ReservedName(pub String);
