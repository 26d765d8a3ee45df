//! Filters that give text.

#![forbid(unsafe_code)]

use super::Filter;
use crate::checkpoint::jinja::arguments::{Arguments, flag, given, integer, text};
use crate::checkpoint::jinja::characters::is_space;
use crate::checkpoint::jinja::dict::Dict;
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::repr::{to_str, to_text};
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{Str, Value};
use crate::checkpoint::jinja::{percent_format, strings};

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "string" => |run, value, arguments| {
            arguments.none("string")?;
            to_str(run, value).map(Value::Str)
        },
        "upper" => |run, value, arguments| changed(run, value, arguments, str::to_uppercase),
        "lower" => |run, value, arguments| changed(run, value, arguments, str::to_lowercase),
        "capitalize" => |run, value, arguments| changed(run, value, arguments, strings::capitalize),
        "title" => |run, value, arguments| changed(run, value, arguments, title),
        "trim" => trim,
        "center" => center,
        "replace" => replace,
        "indent" => indent,
        "truncate" => truncate,
        "wordcount" => word_count,
        "format" => format,
        _ => return None,
    })
}

/// Text that is as safe as that which it was made of.
fn like(origin: &Str, text: impl Into<std::rc::Rc<str>>) -> Value {
    Value::Str(Str { text: text.into(), is_safe: origin.is_safe })
}

fn changed(run: &Run, value: &Value, arguments: Arguments, change: fn(&str) -> String) -> Result<Value, Error> {
    arguments.none("a filter that changes the case")?;
    let text = to_str(run, value)?;
    run.bytes(text.text.len().saturating_mul(3))?;
    Ok(like(&text, change(&text.text)))
}

/// Unlike the method's, its words begin behind white space, `-` and opening brackets.
fn title(text: &str) -> String {
    let mut title = String::with_capacity(text.len());
    let mut begins_word = true;
    for character in text.chars() {
        match begins_word {
            true => title.extend(character.to_uppercase()),
            false => title.extend(character.to_lowercase()),
        }
        begins_word = is_space(character) || "-({[<".contains(character);
    }
    title
}

fn trim(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [characters] = arguments.take("trim", 0, ["chars"])?;
    let characters = characters.filter(|characters| !matches!(characters, Value::None));
    let characters = characters.as_ref().map(|characters| text("trim", characters)).transpose()?;
    let text = to_str(run, value)?;
    run.bytes(text.text.len())?;
    Ok(like(&text, strings::strip(&text.text, characters, true, true)))
}

fn center(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [width] = arguments.take("center", 0, ["width"])?;
    let text = to_str(run, value)?;
    let centered = strings::center(run, &text.text, integer("center", width.as_ref(), 80)?)?;
    Ok(like(&text, centered))
}

fn replace(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [old, new, count] = arguments.take("replace", 2, ["old", "new", "count"])?;
    let count = count.filter(|count| !matches!(count, Value::None));
    let count = integer("replace", count.as_ref(), -1)?;
    let (old, new) = (to_text(run, &given(old))?, to_text(run, &given(new))?);
    strings::replaced(run, &to_text(run, value)?, &old, &new, count).map(Value::str)
}

fn indent(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [width, first, blank] = arguments.take("indent", 0, ["width", "first", "blank"])?;
    let origin = match value {
        Value::Str(text) => text,
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        _ => return Err(Error::operation(format!("indent: expected a str, found '{}'", value.type_name()))),
    };
    let indent = match width {
        Some(Value::Str(indent)) => indent.text,
        width => {
            let width = usize::try_from(integer("indent", width.as_ref(), 4)?.max(0)).unwrap_or(usize::MAX);
            run.bytes(width)?;
            " ".repeat(width).into()
        }
    };
    let blank = flag(blank.as_ref(), false);
    let mut text = String::new();
    let whole = format!("{}\n", origin.text);
    for (index, line) in strings::split_lines(&whole, false).into_iter().enumerate() {
        run.bytes(indent.len() + line.len() + 1)?;
        if index > 0 {
            text.push('\n');
        }
        let is_indented = if index == 0 { flag(first.as_ref(), false) } else { blank || !line.is_empty() };
        if is_indented {
            text.push_str(&indent);
        }
        text.push_str(line);
    }
    Ok(like(origin, text))
}

fn truncate(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [length, kill_words, end, leeway] = arguments.take("truncate", 0, ["length", "killwords", "end", "leeway"])?;
    let length = integer("truncate", length.as_ref(), 255)?;
    let leeway = leeway.filter(|leeway| !matches!(leeway, Value::None));
    let leeway = integer("truncate", leeway.as_ref(), 5)?;
    let end = end.unwrap_or_else(|| Value::str("..."));
    let end = text("truncate", &end)?;
    let kept = length.saturating_sub(end.chars().count() as i128);
    if kept < 0 || leeway < 0 {
        return Err(Error::operation("truncate: expected a length of at least that of the end, and a leeway"));
    }
    let origin = match value {
        Value::Str(text) => text,
        _ => return Err(Error::operation(format!("truncate: expected a str, found '{}'", value.type_name()))),
    };
    run.bytes(origin.text.len())?;
    if origin.text.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let mut result: String = origin.text.chars().take(usize::try_from(kept).unwrap_or(usize::MAX)).collect();
    if !flag(kill_words.as_ref(), false) {
        result.truncate(strings::rsplit_once(&result, " ").len());
    }
    Ok(like(origin, result + end))
}

fn word_count(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("wordcount")?;
    let text = to_text(run, value)?;
    run.bytes(text.len())?;
    let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
    Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i128))
}

/// `value % arguments`.
fn format(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let values = match (arguments.positional.is_empty(), arguments.named.is_empty()) {
        (false, false) => {
            return Err(Error::operation("format: positional and keyword arguments at the same time"));
        }
        (_, true) => Value::tuple(arguments.positional),
        (true, false) => {
            let mut named = Dict::default();
            for (name, argument) in arguments.named {
                named.insert(run, Value::str(name), argument)?;
            }
            Value::dict(named)
        }
    };
    percent_format::format(run, &to_str(run, value)?, &values)
}
