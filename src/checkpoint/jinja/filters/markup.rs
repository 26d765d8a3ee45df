//! Filters for HTML and addresses.

#![forbid(unsafe_code)]

use super::Filter;
use crate::checkpoint::jinja::access::{iterate, unpack};
use crate::checkpoint::jinja::arguments::{Arguments, flag};
use crate::checkpoint::jinja::characters::is_space;
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::html;
use crate::checkpoint::jinja::repr::{to_str, to_text};
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{Str, Value};

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "safe" => |run, value, arguments| {
            arguments.none("safe")?;
            Ok(Value::Str(Str { is_safe: true, ..to_str(run, value)? }))
        },
        "escape" | "e" => |run, value, arguments| {
            arguments.none("escape")?;
            let text = html::escaped_unless(run, &to_str(run, value)?, false)?;
            Ok(Value::Str(Str { text, is_safe: true }))
        },
        "forceescape" => |run, value, arguments| {
            arguments.none("forceescape")?;
            Ok(Value::Str(Str { text: html::escape(run, &to_text(run, value)?)?, is_safe: true }))
        },
        "striptags" => strip_tags,
        "xmlattr" => attributes,
        "urlencode" => url_encode,
        _ => return None,
    })
}

/// Without comments and tags, white space made one space each, and the entities of [`html::escape`] undone.
fn strip_tags(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("striptags")?;
    let mut text = to_text(run, value)?.to_string();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        run.bytes(text.len())?;
        let mut kept = String::new();
        let mut rest = text.as_str();
        while let Some((before, tag)) = rest.split_once(open)
            && let Some((_, after)) = tag.split_once(close)
        {
            kept.push_str(before);
            rest = after;
        }
        text = kept + rest;
    }
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let text = entities.iter().fold(text, |text, (entity, character)| text.replace(entity, character));
    Ok(Value::str(text))
}

fn attributes(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [with_space] = arguments.take("xmlattr", 0, ["autospace"])?;
    let dict = match value {
        Value::Dict(dict) => dict,
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        _ => return Err(Error::operation(format!("xmlattr: expected a dict, found '{}'", value.type_name()))),
    };
    let mut parts = Vec::new();
    for (key, value) in dict.iter() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let key = to_str(run, key)?;
        if key.text.contains(|character: char| is_space(character) || "/>=".contains(character)) {
            return Err(Error::operation(format!("xmlattr: '{}' is no name of an attribute", key.text)));
        }
        let key = html::escaped_unless(run, &key, false)?;
        let value = html::escaped_unless(run, &to_str(run, value)?, false)?;
        parts.push(format!("{key}=\"{value}\""));
    }
    let text = parts.join(" ");
    let is_spaced = flag(with_space.as_ref(), true) && !text.is_empty();
    Ok(Value::str(if is_spaced { format!(" {text}") } else { text }))
}

fn url_encode(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("urlencode")?;
    let pairs = match value {
        Value::Dict(dict) => dict.pairs(),
        Value::List(_) | Value::Tuple(_) | Value::Generator(_) | Value::View(..) => iterate(run, value)?,
        _ => return quoted(run, value, false).map(Value::str),
    };
    let mut parts = Vec::new();
    for pair in pairs {
        let pair = unpack(run, &pair, 2)?;
        parts.push(format!("{}={}", quoted(run, &pair[0], true)?, quoted(run, &pair[1], true)?));
    }
    Ok(Value::str(parts.join("&")))
}

fn quoted(run: &Run, value: &Value, in_query: bool) -> Result<String, Error> {
    let text = to_text(run, value)?;
    run.bytes(text.len().saturating_mul(3))?;
    let mut quoted = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => quoted.push(byte.into()),
            b'/' if !in_query => quoted.push('/'),
            b' ' if in_query => quoted.push('+'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(quoted)
}
