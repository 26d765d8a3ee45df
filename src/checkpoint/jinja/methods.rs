//! Attributes of values: the methods of each type that do not change it, as the sandbox allows no others.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::arguments::{Arguments, given, integer};
use super::compare::equal;
use super::dict::Dict;
use super::error::Error;
use super::loops;
use super::run::Run;
use super::strings;
use super::value::{Items, Method, MethodCall, Value, View};
use super::{access, globals};

/// `None` where there is none of the name.
pub(super) fn attribute(run: &Run, value: &Value, name: &str) -> Result<Option<Value>, Error> {
    run.bytes(name.len())?;
    let method = match value {
        Value::Str(_) => strings::method(name),
        Value::Dict(_) => dict_method(name),
        Value::List(_) if name == "copy" => Some(("copy", copy as MethodCall)),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => sequence_method(name),
        Value::Group(items) => match name {
            "grouper" => return Ok(items.first().cloned()),
            "list" => return Ok(items.get(1).cloned()),
            _ => sequence_method(name),
        },
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => return Ok(number_attribute(value, name)),
        Value::Function(function) if function.name == "dict" && name == "fromkeys" => {
            Some(("fromkeys", globals::from_keys as MethodCall))
        }
        Value::Namespace(namespace) => return Ok(namespace.get(name)),
        Value::Macro(closure) => return Ok(globals::macro_attribute(closure, name)),
        Value::Loop(state) => match loops::method(name) {
            Some(method) => Some(method),
            None => return Ok(loops::attribute(state, name)),
        },
        Value::Cycler(cycler) => match globals::cycler_method(name) {
            Some(method) => Some(method),
            None => return Ok((name == "current").then(|| cycler.items[cycler.position.get()].clone())),
        },
        _ => None,
    };
    Ok(method.map(|(name, call)| {
        let receiver = Items(vec![value.clone()]);
        Value::Method(Rc::new(Method { receiver, name, call }))
    }))
}

fn number_attribute(value: &Value, name: &str) -> Option<Value> {
    let is_integer = value.as_int().is_some();
    let method = |name, call| {
        let receiver = Items(vec![value.clone()]);
        Some(Value::Method(Rc::new(Method { receiver, name, call })))
    };
    match name {
        "real" => Some(value.clone()),
        "imag" if is_integer => Some(Value::Int(0)),
        "imag" => Some(Value::Float(0.0)),
        "numerator" if is_integer => value.as_int().map(Value::Int),
        "denominator" if is_integer => Some(Value::Int(1)),
        "bit_length" if is_integer => method("bit_length", bit_length),
        "is_integer" if !is_integer => method("is_integer", is_whole),
        _ => None,
    }
}

fn bit_length(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("bit_length")?;
    let magnitude = value.as_int().unwrap_or(0).unsigned_abs();
    Ok(Value::Int(i128::from(u128::BITS - magnitude.leading_zeros())))
}

fn is_whole(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("is_integer")?;
    Ok(Value::Bool(value.as_float().is_some_and(|value| value.is_finite() && value.fract() == 0.0)))
}

fn copy(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("copy")?;
    Ok(match value {
        // A list of its own, for `sameas`.
        Value::List(items) => Value::list(items.to_vec()),
        Value::Dict(dict) => Value::dict(Dict::clone(dict)),
        _ => value.clone(),
    })
}

fn sequence_method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "count" => ("count", count),
        "index" => ("index", index),
        _ => return None,
    })
}

fn count(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [wanted] = arguments.take("count", 1, ["_"])?;
    let wanted = given(wanted);
    let mut count = 0;
    for item in access::iterate(run, value)? {
        count += i128::from(item.is_same(&wanted) || equal(run, &item, &wanted)?);
    }
    Ok(Value::Int(count))
}

fn index(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [wanted, start, stop] = arguments.take("index", 1, ["_", "_", "_"])?;
    let wanted = given(wanted);
    let items = access::iterate(run, value)?;
    let len = items.len() as i128;
    let bound = |bound: Option<Value>, default: i128| -> Result<usize, Error> {
        let bound = integer("index", bound.as_ref(), default)?;
        let bound = if bound < 0 { bound.saturating_add(len) } else { bound };
        Ok(usize::try_from(bound.clamp(0, len)).unwrap_or(0))
    };
    let (start, stop) = (bound(start, 0)?, bound(stop, len)?);
    for (place, item) in items.iter().enumerate().take(stop).skip(start) {
        if item.is_same(&wanted) || equal(run, item, &wanted)? {
            return Ok(Value::Int(place as i128));
        }
    }
    Err(Error::operation("index: the value is not in the sequence"))
}

fn dict_method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "keys" => ("keys", keys),
        "values" => ("values", values),
        "items" => ("items", items),
        "get" => ("get", get),
        "copy" => ("copy", copy),
        "fromkeys" => ("fromkeys", globals::from_keys),
        _ => return None,
    })
}

fn view(kind: View, value: &Value, name: &str, arguments: Arguments) -> Result<Value, Error> {
    arguments.none(name)?;
    Ok(match value {
        Value::Dict(dict) => Value::View(kind, dict.clone()),
        _ => Value::None,
    })
}

fn keys(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    view(View::Keys, value, "keys", arguments)
}

fn values(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    view(View::Values, value, "values", arguments)
}

fn items(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    view(View::Items, value, "items", arguments)
}

fn get(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [key, default] = arguments.take("get", 1, ["_", "_"])?;
    let found = match value {
        Value::Dict(dict) => dict.get(run, &given(key))?.cloned(),
        _ => None,
    };
    Ok(found.or(default).unwrap_or(Value::None))
}
