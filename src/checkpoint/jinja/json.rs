//! transformers' `tojson`: Python's `json.dumps`, which escapes nothing for HTML and, here, nothing beyond ASCII unless
//! asked to.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::rc::Rc;

use super::access::iterate;
use super::arguments::{Arguments, flag, text};
use super::error::Error;
use super::filters::sorted;
use super::repr::float;
use super::run::Run;
use super::value::Value;

const WIDEST_INDENT: i128 = 64;

pub(super) fn to_json(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = arguments.take("tojson", 0, names)?;
    let indent: Option<Rc<str>> = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(indent)) => Some(indent.text),
        Some(width) => match width.as_int() {
            Some(width) if width <= WIDEST_INDENT => Some(" ".repeat(usize::try_from(width).unwrap_or(0)).into()),
            Some(_) => return Err(Error::operation("tojson: indent of more than 64 spaces")),
            None => return Err(Error::operation("tojson: indent must be an integer or a string")),
        },
    };
    let default_item = if indent.is_some() { "," } else { ", " };
    let (item, key): (Rc<str>, Rc<str>) = match separators {
        None | Some(Value::None) => (default_item.into(), ": ".into()),
        Some(separators) => match iterate(run, &separators)?.as_slice() {
            [item, key] => (text("tojson", item)?.into(), text("tojson", key)?.into()),
            _ => return Err(Error::operation("tojson: separators must be two strings")),
        },
    };
    let mut writer = Writer {
        run,
        ensure_ascii: flag(ensure_ascii.as_ref(), false),
        sort_keys: flag(sort_keys.as_ref(), false),
        indent,
        item,
        key,
        depth: 0,
        text: String::new(),
    };
    writer.value(value)?;
    Ok(Value::str(writer.text))
}

struct Writer<'a> {
    run: &'a Run,
    ensure_ascii: bool,
    sort_keys: bool,
    /// What each level is indented by; everything on one line if `None`.
    indent: Option<Rc<str>>,
    /// Between items.
    item: Rc<str>,
    /// Between a key and its value.
    key: Rc<str>,
    depth: usize,
    text: String,
}

impl Writer<'_> {
    fn write(&mut self, text: &str) -> Result<(), Error> {
        self.run.bytes(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Error> {
        let _level = self.run.enter()?;
        match value {
            Value::Str(text) => self.string(&text.text),
            Value::List(items) | Value::Tuple(items) | Value::Group(items) => {
                self.within("[", "]", items, |writer, item| writer.value(item))
            }
            Value::Dict(dict) => {
                let mut pairs = dict.pairs();
                if self.sort_keys {
                    pairs = sorted(self.run, pairs, |pair| Ok(pair.as_tuple().unwrap_or(&[])[0].clone()))?;
                }
                self.within("{", "}", &pairs, |writer, pair| match pair.as_tuple() {
                    Some([key, value]) => {
                        let key = match key {
                            Value::Str(key) => key.text.clone(),
                            _ => scalar(key).ok_or_else(|| {
                                Error::operation(format!("tojson: keys must not be of the type {}", key.type_name()))
                            })?,
                        };
                        writer.string(&key)?;
                        writer.write(&writer.key.clone())?;
                        writer.value(value)
                    }
                    _ => Ok(()),
                })
            }
            _ => match scalar(value) {
                Some(text) => self.write(&text),
                None => Err(Error::operation(format!(
                    "tojson: an object of the type {} is not JSON serializable",
                    value.type_name()
                ))),
            },
        }
    }

    fn within(
        &mut self,
        open: &str,
        close: &str,
        items: &[Value],
        write: fn(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write(open)?;
        self.depth += 1;
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.write(&self.item.clone())?;
            }
            self.new_line()?;
            write(self, item)?;
        }
        self.depth -= 1;
        if !items.is_empty() {
            self.new_line()?;
        }
        self.write(close)
    }

    fn new_line(&mut self) -> Result<(), Error> {
        let Some(indent) = self.indent.clone() else { return Ok(()) };
        self.write("\n")?;
        (0..self.depth).try_for_each(|_| self.write(&indent))
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.run.bytes(text.len() * 6)?;
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\x08' => self.text.push_str("\\b"),
                '\x0c' => self.text.push_str("\\f"),
                ' '..='~' => self.text.push(character),
                '\u{80}'.. if !self.ensure_ascii => self.text.push(character),
                '\x7f' if !self.ensure_ascii => self.text.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
            }
        }
        self.text.push('"');
        Ok(())
    }
}

/// What is neither text nor has items.
fn scalar(value: &Value) -> Option<Rc<str>> {
    Some(match value {
        Value::None => "null".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Int(value) => value.to_string().into(),
        Value::Float(value) if value.is_nan() => "NaN".into(),
        Value::Float(value) if value.is_infinite() => (if *value > 0.0 { "Infinity" } else { "-Infinity" }).into(),
        Value::Float(value) => float(*value).into(),
        _ => return None,
    })
}
