//! JSON that can be trusted no further than it is checked: every name once, every value asked for by type and range, and
//! every refusal with the field's whole path.

#![forbid(unsafe_code)]

mod text;

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};
pub(crate) use text::{parse, to_text};

use super::error::{CheckpointError, Excerpt, counted};
use super::tensor::MOST_DIMENSIONS;

/// One JSON object of a file, read field by field. A field that is `null` counts as absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    file: &'a Path,
    /// The object's own name, empty for a file's outermost object.
    name: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The outermost object of a file.
    pub(super) fn of(file: &'a Path, value: &'a Value) -> Result<Self, CheckpointError> {
        match value {
            Value::Object(map) => Ok(Self { file, name: "", map }),
            other => Err(CheckpointError::file(file, "a JSON object", describe(Some(other)))),
        }
    }

    /// An object within a file, by its path in it, e.g. `tensors[3]`.
    pub(super) fn nested(file: &'a Path, name: &'a str, value: &'a Value) -> Result<Self, CheckpointError> {
        match value {
            Value::Object(map) => Ok(Self { file, name, map }),
            other => Err(CheckpointError::field(file, name, "an object", describe(Some(other)))),
        }
    }

    /// Whether this is the file's outermost object.
    pub(super) fn is_outermost(&self) -> bool {
        self.name.is_empty()
    }

    /// An error about one field, which quotes what the field holds.
    pub(super) fn error(&self, field: &str, expected: impl Into<String>) -> CheckpointError {
        self.error_found(field, expected, self.describe(field))
    }

    /// What a field holds, in a message's words.
    pub(super) fn describe(&self, field: &str) -> String {
        describe(self.map.get(field))
    }

    /// An error about one field with words of the caller's for what was found.
    pub(super) fn error_found(
        &self,
        field: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> CheckpointError {
        CheckpointError::field(self.file, self.path(field), expected, found)
    }

    /// A field's path from the file's outermost object, as a message may show it: some files choose the names.
    pub(super) fn path(&self, field: &str) -> String {
        let field: String = field.escape_debug().take(120).collect();
        if self.name.is_empty() { field } else { format!("{}.{field}", self.name) }
    }

    /// All fields with their values, `null` included.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn object(&self, field: &'a str) -> Result<Option<Self>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { file: self.file, name: field, map })),
            Some(_) => Err(self.error(field, "an object")),
        }
    }

    pub(super) fn array(&self, field: &str) -> Result<Option<&'a [Value]>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.error(field, "an array")),
        }
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(value @ Value::String(text)) if text::number(value).is_none() => Ok(Some(text)),
            Some(_) => Err(self.error(field, "a string")),
        }
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.error(field, "true or false")),
        }
    }

    /// A number that `is_right`; `expected` says in words what that is. It may be infinite, or not a number.
    pub(super) fn number(
        &self,
        field: &str,
        expected: &str,
        is_right: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match text::number(value) {
                Some(number) if is_right(number) => Ok(Some(number)),
                _ => Err(self.error(field, expected)),
            },
        }
    }

    pub(super) fn integer(&self, field: &str, range: &RangeInclusive<usize>) -> Result<Option<usize>, CheckpointError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
                Some(number) if range.contains(&number) => Ok(Some(number)),
                _ => Err(self.error(field, integer_in_words(range))),
            },
        }
    }

    /// An array of sizes, no more than a shape may have.
    pub(super) fn sizes(&self, field: &str) -> Option<Vec<usize>> {
        let size = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let items = self.get(field)?.as_array().filter(|items| items.len() <= MOST_DIMENSIONS)?;
        items.iter().map(size).collect()
    }

    pub(super) fn required_integer(
        &self,
        field: &str,
        range: &RangeInclusive<usize>,
    ) -> Result<usize, CheckpointError> {
        self.integer(field, range)?.ok_or_else(|| self.error(field, integer_in_words(range)))
    }

    /// One token id or a list of them, each below `vocab_size`.
    pub(super) fn token_ids(&self, field: &str, vocab_size: usize) -> Result<Option<Vec<u32>>, CheckpointError> {
        let ids = match self.get(field) {
            None => return Ok(None),
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(id) => std::slice::from_ref(id),
        };
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|&id| (id as usize) < vocab_size).ok_or_else(|| {
                let expected = format!("token ids below vocab_size = {vocab_size}");
                self.error_found(field, expected, describe(Some(value)))
            })
        };
        ids.iter().map(id).collect::<Result<_, _>>().map(Some)
    }
}

fn integer_in_words(range: &RangeInclusive<usize>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

/// A value as a message shows it: in full if it is short, by its kind and size if not.
pub(super) fn describe(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) if value.and_then(text::number).is_none() => Excerpt(text).to_string(),
        Some(Value::Array(items)) => match value.map(|value| to_text(value, false)) {
            // JSON escapes some control characters only.
            Some(text) if text.len() <= 60 && !text.contains(char::is_control) => text,
            _ => format!("an array of {}", counted(items.len(), "item")),
        },
        Some(Value::Object(map)) => format!("an object with {}", counted(map.len(), "field")),
        Some(other) => to_text(other, false),
    }
}
