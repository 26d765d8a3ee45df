//! What lies within a value: attributes, items, slices, and all items in turn. As Jinja's sandbox has it: `a.b` looks for
//! a method first and for an item then, `a['b']` the other way round, and what is not there is undefined.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::error::Error;
use super::methods;
use super::range::Range;
use super::run::Run;
use super::value::{Str, Value, View};

pub(super) fn attribute(run: &Run, value: &Value, name: &str) -> Result<Value, Error> {
    if let Value::Undefined(reason) = value {
        return Err(Error::undefined(&**reason));
    }
    if let Some(found) = methods::attribute(run, value, name)? {
        return Ok(found);
    }
    let found = match value {
        Value::Dict(dict) => dict.get_str(name).cloned(),
        _ => None,
    };
    Ok(found.unwrap_or_else(|| missing(value, name)))
}

pub(super) fn item(run: &Run, value: &Value, key: &Value) -> Result<Value, Error> {
    if let Value::Undefined(reason) = value {
        return Err(Error::undefined(&**reason));
    }
    run.bytes(key.as_str().map_or(0, str::len))?;
    let index = |len: usize| Some(at(key.as_int()?, len)).flatten();
    let found = match value {
        // A key that cannot be hashed is not there.
        Value::Dict(dict) => dict.get(run, key).ok().flatten().cloned(),
        Value::List(items) | Value::Tuple(items) | Value::Group(items) => {
            index(items.len()).map(|index| items[index].clone())
        }
        Value::Str(Str { text, is_safe }) => {
            run.bytes(text.len())?;
            let character = index(text.chars().count()).and_then(|index| text.chars().nth(index));
            character.map(|character| {
                let text = character.encode_utf8(&mut [0; 4]).to_owned().into();
                Value::Str(Str { text, is_safe: *is_safe })
            })
        }
        Value::Range(range) => index(range.len()).and_then(|index| range.get(index)).map(Value::Int),
        Value::Namespace(namespace) => key.as_str().and_then(|name| namespace.get(name)),
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    match key {
        Value::Str(Str { text: name, .. }) => {
            Ok(methods::attribute(run, value, name)?.unwrap_or_else(|| missing(value, name)))
        }
        _ => Ok(Value::undefined(format!("'{}' object has no such element", value.type_name()))),
    }
}

fn missing(value: &Value, name: &str) -> Value {
    Value::undefined(format!("'{} object' has no attribute '{name}'", value.type_name()))
}

/// Where an index that may count from the end leads.
fn at(index: i128, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i128 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// `value[start:stop:step]`, each of which may be `none`.
pub(super) fn slice(run: &Run, value: &Value, bounds: &[Value; 3]) -> Result<Value, Error> {
    let nothing = || Value::undefined(format!("'{}' object cannot be sliced so", value.type_name()));
    let len = match value {
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        Value::Str(text) => {
            run.bytes(text.text.len())?;
            text.text.chars().count()
        }
        Value::List(_) | Value::Tuple(_) | Value::Group(_) | Value::Range(_) => value.len().unwrap_or(0),
        _ => return Ok(nothing()),
    };
    if bounds.iter().any(|bound| !matches!(bound, Value::None) && bound.as_int().is_none()) {
        return Ok(nothing());
    }
    let [start, stop, step] = bounds.each_ref().map(Value::as_int);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::operation("slice step cannot be zero"));
    }
    let (first, count) = taken(start, stop, step, len as i128);
    let places = (0..count).map(|index| (first + step * index) as usize);
    run.spend(count as usize)?;
    Ok(match value {
        Value::Str(Str { text, is_safe }) => {
            let characters: Vec<char> = text.chars().collect();
            let text: String = places.map(|place| characters[place]).collect();
            Value::Str(Str { text: text.into(), is_safe: *is_safe })
        }
        Value::List(items) => Value::list(places.map(|place| items[place].clone()).collect()),
        Value::Tuple(items) | Value::Group(items) => Value::tuple(places.map(|place| items[place].clone()).collect()),
        Value::Range(range) => {
            let step = step.saturating_mul(range.step);
            let first = range.start + range.step * first;
            let stop = first.saturating_add(step.saturating_mul(count));
            Value::Range(Rc::new(Range::new(first, stop, step)?))
        }
        _ => nothing(),
    })
}

/// The first place that a slice takes, and how many it takes. `step` is not zero.
fn taken(start: Option<i128>, stop: Option<i128>, step: i128, len: i128) -> (i128, i128) {
    let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |bound: i128| if bound < 0 { bound.saturating_add(len) } else { bound }.clamp(lowest, highest);
    let (first, end) = match step > 0 {
        true => (start.map_or(lowest, clamp), stop.map_or(highest, clamp)),
        false => (start.map_or(highest, clamp), stop.map_or(lowest, clamp)),
    };
    let distance = if step > 0 { end - first } else { first - end };
    let count = distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    // No more than `len`.
    (first, count as i128)
}

/// All items of what Python can iterate over. Those of a generator are gone then.
pub(super) fn iterate(run: &Run, value: &Value) -> Result<Vec<Value>, Error> {
    if let Value::Str(text) = value {
        // Each character becomes a text of its own.
        run.spend(text.text.len().saturating_mul(2))?;
    }
    run.spend(value.len().unwrap_or(1))?;
    Ok(match value {
        Value::Undefined(_) => Vec::new(),
        Value::Str(Str { text, .. }) => {
            text.chars().map(|character| Value::str(&*character.encode_utf8(&mut [0; 4]))).collect()
        }
        Value::List(items) | Value::Tuple(items) | Value::Group(items) => items.to_vec(),
        Value::Dict(dict) | Value::View(View::Keys, dict) => dict.keys().to_vec(),
        Value::View(View::Values, dict) => dict.values().to_vec(),
        Value::View(View::Items, dict) => dict.pairs(),
        Value::Range(range) => range.items().map(Value::Int).collect(),
        Value::Generator(items) => std::mem::take(&mut items.borrow_mut().0),
        _ => return Err(Error::operation(format!("'{}' object is not iterable", value.type_name()))),
    })
}

/// The items of what has to have `count`.
pub(super) fn unpack(run: &Run, value: &Value, count: usize) -> Result<Vec<Value>, Error> {
    let items = iterate(run, value)?;
    match items.len() == count {
        true => Ok(items),
        false => Err(Error::operation(format!("{count} values were to be unpacked, there are {}", items.len()))),
    }
}
