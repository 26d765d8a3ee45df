//! Text in parts.

#![forbid(unsafe_code)]

use super::own;
use crate::checkpoint::jinja::arguments::{Arguments, flag, given, integer, text};
use crate::checkpoint::jinja::characters::is_space;
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{MethodCall, Value};

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "split" => ("split", |run, value, arguments| split(run, value, arguments, false)),
        "rsplit" => ("rsplit", |run, value, arguments| split(run, value, arguments, true)),
        "splitlines" => ("splitlines", splitlines),
        "partition" => ("partition", |run, value, arguments| partition(run, value, arguments, false)),
        "rpartition" => ("rpartition", |run, value, arguments| partition(run, value, arguments, true)),
        "strip" => ("strip", |run, value, arguments| stripped(run, value, arguments, true, true)),
        "lstrip" => ("lstrip", |run, value, arguments| stripped(run, value, arguments, true, false)),
        "rstrip" => ("rstrip", |run, value, arguments| stripped(run, value, arguments, false, true)),
        _ => return None,
    })
}

fn separator<'a>(function: &str, value: &'a Value) -> Result<&'a str, Error> {
    match text(function, value)? {
        "" => Err(Error::operation("empty separator")),
        separator => Ok(separator),
    }
}

fn split(run: &Run, value: &Value, arguments: Arguments, from_end: bool) -> Result<Value, Error> {
    let [by, most] = arguments.take("split", 0, ["sep", "maxsplit"])?;
    let most = usize::try_from(integer("split", most.as_ref(), -1)?).unwrap_or(usize::MAX);
    let whole = own(value);
    let mut parts: Vec<&str> = match by.filter(|by| !matches!(by, Value::None)) {
        Some(by) => {
            let by = separator("split", &by)?;
            match from_end {
                false => whole.splitn(most.saturating_add(1), by).collect(),
                true => whole.rsplitn(most.saturating_add(1), by).collect(),
            }
        }
        None if from_end => words_from_end(whole, most),
        None => words(whole, most),
    };
    if from_end {
        parts.reverse();
    }
    run.bytes(whole.len())?;
    run.spend(parts.len())?;
    Ok(Value::list(parts.into_iter().map(Value::str).collect()))
}

/// What stands between white space, the last part with all that follows.
fn words(whole: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = whole.trim_start_matches(is_space);
    while !rest.is_empty() && words.len() < most {
        let (word, following) = rest.split_at(rest.find(is_space).unwrap_or(rest.len()));
        words.push(word);
        rest = following.trim_start_matches(is_space);
    }
    words.extend(Some(rest).filter(|rest| !rest.is_empty()));
    words
}

/// The same from the end, the last word first.
fn words_from_end(whole: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = whole.trim_end_matches(is_space);
    while !rest.is_empty() && words.len() < most {
        let word = rest.trim_end_matches(|character| !is_space(character)).len();
        words.push(&rest[word..]);
        rest = rest[..word].trim_end_matches(is_space);
    }
    words.extend(Some(rest).filter(|rest| !rest.is_empty()));
    words
}

/// All before the last `separator`, or all.
pub(in crate::checkpoint::jinja) fn rsplit_once<'a>(whole: &'a str, separator: &str) -> &'a str {
    whole.rsplit_once(separator).map_or(whole, |(before, _)| before)
}

fn splitlines(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [keep_ends] = arguments.take("splitlines", 0, ["keepends"])?;
    let whole = own(value);
    let lines = split_lines(whole, flag(keep_ends.as_ref(), false));
    run.bytes(whole.len())?;
    run.spend(lines.len())?;
    Ok(Value::list(lines.into_iter().map(Value::str).collect()))
}

/// Lines, at all that ends one in Unicode.
pub(in crate::checkpoint::jinja) fn split_lines(whole: &str, keep_ends: bool) -> Vec<&str> {
    let is_end =
        |character: char| matches!(character, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let length = rest.find(is_end).unwrap_or(rest.len());
        let end = match rest[length..].chars().next() {
            None => 0,
            Some('\r') if rest[length..].starts_with("\r\n") => 2,
            Some(end) => end.len_utf8(),
        };
        lines.push(&rest[..if keep_ends { length + end } else { length }]);
        rest = &rest[length + end..];
    }
    lines
}

fn partition(run: &Run, value: &Value, arguments: Arguments, from_end: bool) -> Result<Value, Error> {
    let [by] = arguments.take("partition", 1, ["_"])?;
    let by = given(by);
    let by = separator("partition", &by)?;
    let whole = own(value);
    run.bytes(whole.len())?;
    let parts = if from_end { whole.rsplit_once(by) } else { whole.split_once(by) };
    let parts = match parts {
        Some((before, after)) => [before, by, after],
        None if from_end => ["", "", whole],
        None => [whole, "", ""],
    };
    Ok(Value::tuple(parts.into_iter().map(Value::str).collect()))
}

fn stripped(run: &Run, value: &Value, arguments: Arguments, at_start: bool, at_end: bool) -> Result<Value, Error> {
    let [characters] = arguments.take("strip", 0, ["_"])?;
    let characters = characters.filter(|characters| !matches!(characters, Value::None));
    let characters = characters.as_ref().map(|characters| text("strip", characters)).transpose()?;
    let whole = own(value);
    run.bytes(whole.len())?;
    Ok(Value::str(strip(whole, characters, at_start, at_end)))
}

/// Without the characters, or white space, at its ends.
pub(in crate::checkpoint::jinja) fn strip<'a>(
    whole: &'a str,
    characters: Option<&str>,
    at_start: bool,
    at_end: bool,
) -> &'a str {
    let is_stripped = |character: char| match characters {
        Some(characters) => characters.contains(character),
        None => is_space(character),
    };
    let whole = if at_start { whole.trim_start_matches(is_stripped) } else { whole };
    if at_end { whole.trim_end_matches(is_stripped) } else { whole }
}
