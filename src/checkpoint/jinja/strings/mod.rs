//! The methods of Python's `str`.

#![forbid(unsafe_code)]

mod case;
mod pad;
mod questions;
mod search;
mod split;

pub(super) use case::capitalize;
pub(super) use pad::center;
pub(super) use split::{rsplit_once, split_lines, strip};

use super::access::iterate;
use super::arguments::{Arguments, given, integer, text};
use super::dict::Dict;
use super::error::Error;
use super::html;
use super::run::Run;
use super::str_format;
use super::value::{Method, MethodCall, Str, Value};

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    let own: (_, MethodCall) = match name {
        "join" => ("join", join),
        "replace" => ("replace", replace),
        "translate" => ("translate", translate),
        "format" => ("format", format),
        "format_map" => ("format_map", format_map),
        _ => {
            return case::method(name)
                .or_else(|| pad::method(name))
                .or_else(|| questions::method(name))
                .or_else(|| search::method(name))
                .or_else(|| split::method(name));
        }
    };
    Some(own)
}

/// A method of text that is safe for HTML: what it is joined with is escaped.
pub(super) fn call_safe(run: &Run, method: &Method, receiver: &Value, arguments: Arguments) -> Result<Value, Error> {
    let escaped = |value: Value| match value {
        Value::Str(text) => Ok(Value::str(html::escaped_unless(run, &text, false)?)),
        _ => Ok(value),
    };
    let arguments = match method.name {
        "join" => {
            let [items] = arguments.take("join", 1, ["_"])?;
            let items = iterate(run, &given(items))?.into_iter().map(escaped).collect::<Result<_, Error>>()?;
            Arguments { positional: vec![Value::list(items)], named: Vec::new() }
        }
        "replace" | "format" | "center" | "ljust" | "rjust" => Arguments {
            positional: arguments.positional.into_iter().map(escaped).collect::<Result<_, Error>>()?,
            named: arguments
                .named
                .into_iter()
                .map(|(name, value)| Ok((name, escaped(value)?)))
                .collect::<Result<_, Error>>()?,
        },
        _ => arguments,
    };
    (method.call)(run, receiver, arguments).map(html::mark)
}

/// The text that a method belongs to. It belongs to nothing else.
fn own(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn join(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [items] = arguments.take("join", 1, ["_"])?;
    let items = iterate(run, &given(items))?;
    join_items(run, own(value), &items).map(Value::str)
}

/// Items that all have to be text.
fn join_items(run: &Run, separator: &str, items: &[Value]) -> Result<String, Error> {
    let mut joined = String::new();
    for (index, item) in items.iter().enumerate() {
        let item = text("join", item)?;
        run.bytes(separator.len() + item.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item);
    }
    Ok(joined)
}

fn replace(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [old, new, count] = arguments.take("replace", 2, ["_", "_", "count"])?;
    let count = integer("replace", count.as_ref(), -1)?;
    let (old, new) = (given(old), given(new));
    replaced(run, own(value), text("replace", &old)?, text("replace", &new)?, count).map(Value::str)
}

/// Up to `count` occurrences, or all if that is negative.
pub(super) fn replaced(run: &Run, whole: &str, old: &str, new: &str, count: i128) -> Result<String, Error> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = whole.matches(old).take(count).count();
    run.bytes(whole.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(whole.replacen(old, new, count))
}

fn translate(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [table] = arguments.take("translate", 1, ["_"])?;
    let Value::Dict(table) = given(table) else {
        return Err(Error::operation("translate: only dictionaries are supported as tables"));
    };
    let mut translated = String::new();
    for character in own(value).chars() {
        let code = Value::Int(u32::from(character).into());
        match table.get(run, &code)? {
            None => translated.push(character),
            Some(Value::None) => {}
            Some(Value::Str(Str { text, .. })) => {
                run.bytes(text.len())?;
                translated.push_str(text);
            }
            Some(other) => {
                let code = other.as_int().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
                translated.push(code.ok_or_else(|| Error::operation("translate: not a character"))?);
            }
        }
    }
    Ok(Value::str(translated))
}

fn format(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let mut named = Dict::default();
    for (name, argument) in arguments.named {
        named.insert(run, Value::str(name), argument)?;
    }
    str_format::format(run, own(value), &arguments.positional, &named).map(Value::str)
}

fn format_map(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [mapping] = arguments.take("format_map", 1, ["_"])?;
    match given(mapping) {
        Value::Dict(named) => str_format::format(run, own(value), &[], &named).map(Value::str),
        other => Err(Error::operation(format!("format_map: expected a dict, found '{}'", other.type_name()))),
    }
}
