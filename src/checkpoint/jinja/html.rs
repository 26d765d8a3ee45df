//! Text for HTML, as MarkupSafe has it. Chat templates write none, but some call `safe` or `escape`, and what is added
//! to text so marked is escaped.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::error::Error;
use super::run::Run;
use super::value::{Items, Str, Value};

pub(super) fn escape(run: &Run, text: &str) -> Result<Rc<str>, Error> {
    run.bytes(text.len() * 5)?;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    Ok(escaped.into())
}

/// As it is if it is safe, or if `as_is`.
pub(super) fn escaped_unless(run: &Run, text: &Str, as_is: bool) -> Result<Rc<str>, Error> {
    match as_is || text.is_safe {
        true => Ok(text.text.clone()),
        false => escape(run, &text.text),
    }
}

/// What a method of safe text gives: its text is safe, too.
pub(super) fn mark(value: Value) -> Value {
    let all = |items: &Items| items.iter().cloned().map(mark).collect();
    match value {
        Value::Str(text) => Value::Str(Str { is_safe: true, ..text }),
        Value::List(items) => Value::list(all(&items)),
        Value::Tuple(items) => Value::tuple(all(&items)),
        _ => value,
    }
}
