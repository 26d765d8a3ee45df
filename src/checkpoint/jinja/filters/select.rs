//! Filters that apply others, or tests, to every item.

#![forbid(unsafe_code)]

use super::Filter;
use crate::checkpoint::jinja::access::{item, iterate};
use crate::checkpoint::jinja::arguments::{Arguments, text};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::predicates;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::Value;

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "map" => map,
        "select" => |run, value, arguments| select(run, value, arguments, false, true),
        "reject" => |run, value, arguments| select(run, value, arguments, false, false),
        "selectattr" => |run, value, arguments| select(run, value, arguments, true, true),
        "rejectattr" => |run, value, arguments| select(run, value, arguments, true, false),
        _ => return None,
    })
}

/// `a.0.b`, in parts.
pub(super) fn attribute_path(run: &Run, attribute: &Value) -> Result<Vec<Value>, Error> {
    let Value::Str(path) = attribute else { return Ok(vec![attribute.clone()]) };
    run.bytes(path.text.len())?;
    let part = |part: &str| match part.bytes().all(|digit| digit.is_ascii_digit()) {
        true => part.parse().map_or_else(|_| Value::str(part), Value::Int),
        false => Value::str(part),
    };
    Ok(path.text.split('.').map(part).collect())
}

/// What lies at the end of a path, or `default` where that is undefined.
pub(super) fn follow(run: &Run, value: Value, path: &[Value], default: Option<&Value>) -> Result<Value, Error> {
    let mut value = value;
    for part in path {
        value = item(run, &value, part)?;
        if let (Value::Undefined(_), Some(default)) = (&value, default) {
            value = default.clone();
        }
    }
    Ok(value)
}

fn map(run: &Run, value: &Value, mut arguments: Arguments) -> Result<Value, Error> {
    // Like Jinja, which goes through nothing that is false, be it `none`.
    if !value.is_true() {
        return Ok(Value::generator(Vec::new()));
    }
    if arguments.positional.is_empty()
        && let Some(attribute) = arguments.take_named("attribute")
    {
        let default = arguments.take_named("default");
        arguments.none("map")?;
        let path = attribute_path(run, &attribute)?;
        let items = iterate(run, value)?;
        let mapped = items.into_iter().map(|item| follow(run, item, &path, default.as_ref()));
        return Ok(Value::generator(mapped.collect::<Result<_, _>>()?));
    }
    if arguments.positional.is_empty() {
        return Err(Error::operation("map requires a filter argument"));
    }
    let name = arguments.positional.remove(0);
    let name = text("map", &name)?;
    let filter = super::find(name).ok_or_else(|| Error::operation(format!("no filter is named '{name}'")))?;
    let mut mapped = Vec::new();
    for item in iterate(run, value)? {
        mapped.push(filter(run, &item, again(run, &arguments)?)?);
    }
    Ok(Value::generator(mapped))
}

/// The arguments for one more call.
fn again(run: &Run, arguments: &Arguments) -> Result<Arguments, Error> {
    run.spend(1 + arguments.positional.len() + arguments.named.len())?;
    Ok(Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() })
}

fn select(
    run: &Run,
    value: &Value,
    mut arguments: Arguments,
    by_attribute: bool,
    is_wanted: bool,
) -> Result<Value, Error> {
    if !value.is_true() {
        return Ok(Value::generator(Vec::new()));
    }
    let mut path = Vec::new();
    if by_attribute {
        if arguments.positional.is_empty() {
            return Err(Error::operation("an attribute's name is missing"));
        }
        path = attribute_path(run, &arguments.positional.remove(0))?;
    }
    let mut test = None;
    if !arguments.positional.is_empty() {
        let name = arguments.positional.remove(0);
        let name = text("select", &name)?;
        test = Some(predicates::find(name).ok_or_else(|| Error::operation(format!("no test is named '{name}'")))?);
    }
    let mut selected = Vec::new();
    for item in iterate(run, value)? {
        let tested = follow(run, item.clone(), &path, None)?;
        let holds = match test {
            Some(test) => test(run, &tested, again(run, &arguments)?)?,
            None => tested.is_true(),
        };
        if holds == is_wanted {
            selected.push(item);
        }
    }
    Ok(Value::generator(selected))
}
