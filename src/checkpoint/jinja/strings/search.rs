//! Where one text stands in another. Places are counted in characters.

#![forbid(unsafe_code)]

use super::own;
use crate::checkpoint::jinja::arguments::{Arguments, given, integer, text};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{MethodCall, Value};

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "find" => ("find", |run, value, arguments| find(run, value, arguments, false).map(or_minus_one)),
        "rfind" => ("rfind", |run, value, arguments| find(run, value, arguments, true).map(or_minus_one)),
        "index" => ("index", |run, value, arguments| find(run, value, arguments, false).and_then(or_error)),
        "rindex" => ("rindex", |run, value, arguments| find(run, value, arguments, true).and_then(or_error)),
        "count" => ("count", count),
        "startswith" => {
            ("startswith", |run, value, arguments| has_end(run, value, arguments, |part, end| part.starts_with(end)))
        }
        "endswith" => {
            ("endswith", |run, value, arguments| has_end(run, value, arguments, |part, end| part.ends_with(end)))
        }
        "removeprefix" => ("removeprefix", |run, value, arguments| {
            removed(run, value, arguments, |whole, end| whole.strip_prefix(end))
        }),
        "removesuffix" => ("removesuffix", |run, value, arguments| {
            removed(run, value, arguments, |whole, end| whole.strip_suffix(end))
        }),
        _ => return None,
    })
}

fn or_minus_one(place: Option<usize>) -> Value {
    Value::Int(place.map_or(-1, |place| place as i128))
}

fn or_error(place: Option<usize>) -> Result<Value, Error> {
    place.map(|place| Value::Int(place as i128)).ok_or_else(|| Error::operation("substring not found"))
}

/// The part of `whole` between two places, and how many characters stand before it. `None` if it begins beyond the end.
fn part<'a>(
    run: &Run,
    whole: &'a str,
    start: Option<Value>,
    stop: Option<Value>,
) -> Result<Option<(&'a str, usize)>, Error> {
    run.bytes(whole.len())?;
    let len = whole.chars().count() as i128;
    let bound = |bound: Option<Value>, default: i128| -> Result<i128, Error> {
        let bound = bound.filter(|bound| !matches!(bound, Value::None));
        let bound = integer("a place in a text", bound.as_ref(), default)?;
        Ok(if bound < 0 { bound.saturating_add(len).max(0) } else { bound })
    };
    let (start, stop) = (bound(start, 0)?, bound(stop, len)?.min(len));
    if start > len || start > stop {
        return Ok(None);
    }
    let (start, stop) = (start as usize, stop as usize);
    let mut ends = whole.char_indices().map(|(place, _)| place).chain([whole.len()]);
    let first = ends.nth(start).unwrap_or(whole.len());
    let end = if stop > start { ends.nth(stop - start - 1).unwrap_or(whole.len()) } else { first };
    Ok(Some((&whole[first..end], start)))
}

fn find(run: &Run, value: &Value, arguments: Arguments, from_end: bool) -> Result<Option<usize>, Error> {
    let [wanted, start, stop] = arguments.take("find", 1, ["_", "_", "_"])?;
    let wanted = given(wanted);
    let wanted = text("find", &wanted)?;
    let Some((part, before)) = part(run, own(value), start, stop)? else { return Ok(None) };
    let found = if from_end { part.rfind(wanted) } else { part.find(wanted) };
    Ok(found.map(|place| before + part[..place].chars().count()))
}

fn count(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [wanted, start, stop] = arguments.take("count", 1, ["_", "_", "_"])?;
    let wanted = given(wanted);
    let wanted = text("count", &wanted)?;
    let count = part(run, own(value), start, stop)?.map_or(0, |(part, _)| part.matches(wanted).count());
    Ok(Value::Int(count as i128))
}

fn has_end(run: &Run, value: &Value, arguments: Arguments, has: fn(&str, &str) -> bool) -> Result<Value, Error> {
    let [ends, start, stop] = arguments.take("startswith or endswith", 1, ["_", "_", "_"])?;
    let ends = given(ends);
    let ends = ends.as_tuple().unwrap_or(std::slice::from_ref(&ends));
    let part = part(run, own(value), start, stop)?;
    for end in ends {
        let end = text("startswith or endswith", end)?;
        if part.is_some_and(|(part, _)| has(part, end)) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn removed(
    run: &Run,
    value: &Value,
    arguments: Arguments,
    strip: for<'a> fn(&'a str, &str) -> Option<&'a str>,
) -> Result<Value, Error> {
    let [end] = arguments.take("removeprefix or removesuffix", 1, ["_"])?;
    let end = given(end);
    let whole = own(value);
    run.bytes(whole.len())?;
    Ok(Value::str(strip(whole, text("removeprefix or removesuffix", &end)?).unwrap_or(whole)))
}
