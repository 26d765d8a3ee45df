//! The `loop` of a loop's body.

#![forbid(unsafe_code)]

use super::access::iterate;
use super::arguments::{Arguments, given};
use super::compare::equal;
use super::error::Error;
use super::run::Run;
use super::value::{Items, Loop, MethodCall, Value};

pub(super) fn attribute(state: &Loop, name: &str) -> Option<Value> {
    let (index, length) = (state.index.get(), state.items.len());
    let count = |count: usize| Some(Value::Int(count as i128));
    match name {
        "index" => count(index + 1),
        "index0" => count(index),
        "revindex" => count(length.saturating_sub(index)),
        "revindex0" => count(length.saturating_sub(index + 1)),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index + 1 == length)),
        "length" => count(length),
        "depth" => count(state.depth + 1),
        "depth0" => count(state.depth),
        "previtem" => {
            let item = index.checked_sub(1).and_then(|index| state.items.get(index));
            Some(item.cloned().unwrap_or_else(|| Value::undefined("there is no previous item")))
        }
        "nextitem" => {
            let item = state.items.get(index + 1);
            Some(item.cloned().unwrap_or_else(|| Value::undefined("there is no next item")))
        }
        _ => None,
    }
}

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "cycle" => ("cycle", cycle),
        "changed" => ("changed", changed),
        _ => return None,
    })
}

fn cycle(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    match value {
        Value::Loop(state) if !arguments.positional.is_empty() => {
            Ok(arguments.positional[state.index.get() % arguments.positional.len()].clone())
        }
        _ => Err(Error::operation("no items for cycling given")),
    }
}

/// Whether the arguments are not those of the last call.
fn changed(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let Value::Loop(state) = value else { return Ok(Value::None) };
    let now = arguments.positional;
    let before = state.seen.replace(Some(Items(now.clone())));
    let is_same = match before {
        None => false,
        Some(before) => equal(run, &Value::list(before.to_vec()), &Value::list(now))?,
    };
    Ok(Value::Bool(!is_same))
}

/// What a recursive loop is called with.
pub(super) fn call_items(run: &Run, arguments: Arguments) -> Result<Vec<Value>, Error> {
    let [items] = arguments.take("loop", 1, ["iterable"])?;
    iterate(run, &given(items))
}
