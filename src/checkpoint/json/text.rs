//! JSON text ↔ values. It is what Python's `json` module writes, which is most of what strangers' files went through: a
//! number may be `NaN`, `Infinity` or `-Infinity`, for which JSON has no words.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::checkpoint::error::{CheckpointError, Excerpt};

/// The words, each with the number it stands for. A value holds them as strings behind [`MARK`].
const WORDS: [(&str, f64); 3] = [("NaN", f64::NAN), ("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY)];
/// What no text of a configuration begins with.
const MARK: char = '\0';
/// [`MARK`] as JSON writes it in a string.
const ESCAPED_MARK: &str = "\\u0000";

/// Parses a whole file. Nesting is limited to 128 levels by the parser.
///
/// A name used twice in one object is refused: readers differ in which of the two they take. A byte-order mark at the
/// beginning is passed over: editors leave it, and it says nothing.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Value, CheckpointError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<UniqueNames>(&with_marked_words(text)) {
        Ok(value) => Ok(value.0),
        Err(error) => {
            let expected = match error.classify() {
                Category::Data => "JSON with every name used once",
                _ => "JSON",
            };
            Err(CheckpointError::file(file, expected, error.to_string()))
        }
    }
}

/// The number that a value is, infinite or not a number where the file says so.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let word = text.strip_prefix(MARK)?;
            WORDS.iter().find(|(known, _)| *known == word).map(|&(_, number)| number)
        }
        _ => None,
    }
}

/// A value on one line, or indented by two spaces, in the words that [`parse`] reads.
pub(crate) fn to_text(value: &Value, indented: bool) -> String {
    let mut text = if indented { format!("{value:#}") } else { value.to_string() };
    for (word, _) in WORDS {
        text = text.replace(&quoted(word), word);
    }
    text
}

fn quoted(word: &str) -> String {
    format!("\"{ESCAPED_MARK}{word}\"")
}

/// The same text with every word that stands outside of strings as a marked string.
fn with_marked_words(text: &str) -> Cow<'_, str> {
    let mut marked = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['"', 'N', 'I', '-']) {
        at += found;
        let rest = &text[at..];
        if let Some(string) = rest.strip_prefix('"') {
            at += 1 + end_of_string(string);
        } else if let Some((word, _)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
            marked += &text[copied..at];
            marked += &quoted(word);
            at += word.len();
            copied = at;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    marked += &text[copied..];
    Cow::Owned(marked)
}

/// The length of what is left of a string with its closing quote, or of the text if it has none.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 1)
}

struct UniqueNames(Value);

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(UniqueNames(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("{} for the second time", Excerpt(&name))));
            }
            let UniqueNames(value) = entries.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
