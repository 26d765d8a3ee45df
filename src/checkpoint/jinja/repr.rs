//! Values as text: Python's `str` and `repr`.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::rc::Rc;

use super::characters::is_printable;
use super::dict::Dict;
use super::error::Error;
use super::run::Run;
use super::value::{Str, Value, View};

/// `str(value)`.
pub(super) fn to_text(run: &Run, value: &Value) -> Result<Rc<str>, Error> {
    match value {
        Value::Str(text) => Ok(text.text.clone()),
        Value::Undefined(_) => Ok("".into()),
        _ => Ok(repr(run, value)?.into()),
    }
}

/// Like [`to_text`], but text that is marked as safe stays so.
pub(super) fn to_str(run: &Run, value: &Value) -> Result<Str, Error> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        _ => Ok(Str { text: to_text(run, value)?, is_safe: false }),
    }
}

pub(super) fn repr(run: &Run, value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write_repr(run, &mut out, value)?;
    Ok(out)
}

fn write_repr(run: &Run, out: &mut String, value: &Value) -> Result<(), Error> {
    let _level = run.enter()?;
    let written = match value {
        Value::Undefined(_) => write!(out, "Undefined"),
        Value::None => write!(out, "None"),
        Value::Bool(true) => write!(out, "True"),
        Value::Bool(false) => write!(out, "False"),
        Value::Int(value) => write!(out, "{value}"),
        Value::Float(value) => write!(out, "{}", float(*value)),
        Value::Str(text) => {
            run.bytes(text.text.len())?;
            let literal = literal(&text.text);
            if text.is_safe { write!(out, "Markup({literal})") } else { write!(out, "{literal}") }
        }
        Value::List(items) => return write_items(run, out, "[", items, "]"),
        Value::Tuple(items) | Value::Group(items) => {
            return write_items(run, out, "(", items, if items.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(dict) => return write_dict(run, out, dict),
        Value::View(kind, dict) => {
            out.push_str(value.type_name());
            return match kind {
                View::Keys => write_items(run, out, "([", dict.keys(), "])"),
                View::Values => write_items(run, out, "([", dict.values(), "])"),
                View::Items => write_items(run, out, "([", &dict.pairs(), "])"),
            };
        }
        Value::Range(range) if range.step == 1 => write!(out, "range({}, {})", range.start, range.stop),
        Value::Range(range) => write!(out, "range({}, {}, {})", range.start, range.stop, range.step),
        Value::Namespace(namespace) => {
            out.push_str("<Namespace ");
            write_dict(run, out, &namespace.attributes())?;
            write!(out, ">")
        }
        Value::Macro(closure) => write!(out, "<Macro '{}'>", closure.definition.name),
        Value::Loop(state) => write!(out, "<LoopContext {}/{}>", state.index.get() + 1, state.items.len()),
        Value::Function(function) => write!(out, "<function {}>", function.name),
        Value::Method(method) => write!(out, "<built-in method {}>", method.name),
        Value::Generator(_) | Value::Cycler(_) | Value::Joiner(_) => write!(out, "<{} object>", value.type_name()),
    };
    written.map_err(|_| Error::operation("a value cannot be written"))
}

fn write_items(run: &Run, out: &mut String, open: &str, items: &[Value], close: &str) -> Result<(), Error> {
    out.push_str(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(run, out, item)?;
    }
    out.push_str(close);
    Ok(())
}

fn write_dict(run: &Run, out: &mut String, dict: &Dict) -> Result<(), Error> {
    out.push('{');
    for (index, (key, value)) in dict.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(run, out, key)?;
        out.push_str(": ");
        write_repr(run, out, value)?;
    }
    out.push('}');
    Ok(())
}

/// A string literal, in single quotes unless only those stand in it.
fn literal(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push(quote);
    for character in text.chars() {
        match character {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            _ if character == quote => literal.extend(['\\', quote]),
            _ if is_printable(character) => literal.push(character),
            _ => literal.push_str(&escape(character)),
        }
    }
    literal.push(quote);
    literal
}

/// `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
fn escape(character: char) -> String {
    match u32::from(character) {
        code @ ..=0xff => format!("\\x{code:02x}"),
        code @ ..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// A `repr` with everything beyond ASCII escaped.
pub(super) fn ascii(repr: &str) -> String {
    let mut text = String::new();
    for character in repr.chars() {
        match character.is_ascii() && is_printable(character) {
            true => text.push(character),
            false => text.push_str(&escape(character)),
        }
    }
    text
}

/// A float as Python's `repr` writes it: the shortest digits that parse back, always with a point or an exponent, the
/// latter below 1e-4 and from 1e16 on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) || value.is_infinite() {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}
