//! Filters of what has items.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::Filter;
use super::select::{attribute_path, follow};
use crate::checkpoint::jinja::access::{iterate, slice};
use crate::checkpoint::jinja::arguments::{Arguments, flag, given, integer};
use crate::checkpoint::jinja::arithmetic::{Operator, binary};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::methods;
use crate::checkpoint::jinja::repr::to_text;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{Items, Value};

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "length" | "count" => length,
        "list" => |run, value, arguments| {
            arguments.none("list")?;
            iterate(run, value).map(Value::list)
        },
        "first" => first,
        "last" => last,
        "reverse" => reverse,
        "join" => join,
        "items" => items,
        "sum" => sum,
        "batch" => batch,
        "slice" => slices,
        "default" | "d" => default,
        "attr" => attr,
        _ => return None,
    })
}

fn length(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("length")?;
    run.bytes(value.as_str().map_or(0, str::len))?;
    match value.len() {
        Some(length) => Ok(Value::Int(length as i128)),
        None => Err(Error::operation(format!("object of type '{}' has no len()", value.type_name()))),
    }
}

fn default(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [default, boolean] = arguments.take("default", 0, ["default_value", "boolean"])?;
    let is_missing = value.is_undefined() || flag(boolean.as_ref(), false) && !value.is_true();
    Ok(if is_missing { default.unwrap_or_else(|| Value::str("")) } else { value.clone() })
}

fn attr(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [name] = arguments.take("attr", 1, ["name"])?;
    let name = to_text(run, &given(name))?;
    if let Value::Undefined(reason) = value {
        return Err(Error::undefined(&**reason));
    }
    let missing = || Value::undefined(format!("'{}' object has no attribute '{name}'", value.type_name()));
    Ok(methods::attribute(run, value, &name)?.unwrap_or_else(missing))
}

fn first(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("first")?;
    if let Value::Generator(items) = value {
        let items = &mut items.borrow_mut().0;
        return Ok(if items.is_empty() { nothing() } else { items.remove(0) });
    }
    Ok(iterate(run, value)?.into_iter().next().unwrap_or_else(nothing))
}

fn last(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("last")?;
    match value {
        Value::Generator(_) => Err(Error::operation("'generator' object is not reversible")),
        _ => Ok(iterate(run, value)?.pop().unwrap_or_else(nothing)),
    }
}

fn nothing() -> Value {
    Value::undefined("No item, sequence was empty.")
}

fn reverse(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("reverse")?;
    if let Value::Str(_) = value {
        return slice(run, value, &[Value::None, Value::None, Value::Int(-1)]);
    }
    let mut items = iterate(run, value)?;
    items.reverse();
    Ok(Value::generator(items))
}

fn join(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [separator, attribute] = arguments.take("join", 0, ["d", "attribute"])?;
    let separator = separator.map_or(Ok("".into()), |separator| to_text(run, &separator))?;
    let path = attribute.map(|attribute| attribute_path(run, &attribute)).transpose()?;
    let mut joined = String::new();
    for (index, mut item) in iterate(run, value)?.into_iter().enumerate() {
        if let Some(path) = &path {
            item = follow(run, item, path, None)?;
        }
        let item = to_text(run, &item)?;
        run.bytes(separator.len() + item.len())?;
        if index > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&item);
    }
    Ok(Value::str(joined))
}

fn items(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("items")?;
    match value {
        Value::Undefined(_) => Ok(Value::generator(Vec::new())),
        Value::Dict(dict) => Ok(Value::generator(dict.pairs())),
        _ => Err(Error::operation("Can only get item pairs from a mapping.")),
    }
}

fn sum(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [attribute, start] = arguments.take("sum", 0, ["attribute", "start"])?;
    let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
    let path = attribute.map(|attribute| attribute_path(run, &attribute)).transpose()?;
    let start = start.unwrap_or(Value::Int(0));
    if let Value::Str(_) = start {
        return Err(Error::operation("sum() can't sum strings"));
    }
    iterate(run, value)?.into_iter().try_fold(start, |sum, item| {
        let item = path.as_ref().map_or(Ok(item.clone()), |path| follow(run, item, path, None))?;
        binary(run, Operator::Add, &sum, &item)
    })
}

fn batch(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [count, fill] = arguments.take("batch", 1, ["linecount", "fill_with"])?;
    let count = integer("batch", count.as_ref(), 1)?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = iterate(run, value)?;
    // Like Jinja, which never sees a line of no items as full.
    let size = usize::try_from(count).ok().filter(|size| *size > 0).unwrap_or(usize::MAX);
    let mut lines: Vec<Vec<Value>> = items.chunks(size).map(<[Value]>::to_vec).collect();
    if let (Some(fill), Some(last), true) = (fill, lines.last_mut(), size < usize::MAX) {
        run.spend(size)?;
        last.resize(size, fill);
    }
    Ok(Value::generator(lines.into_iter().map(Value::list).collect()))
}

fn slices(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [count, fill] = arguments.take("slice", 1, ["slices", "fill_with"])?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = iterate(run, value)?;
    let count = usize::try_from(integer("slice", count.as_ref(), 1)?.max(0)).unwrap_or(usize::MAX);
    if count == 0 {
        return Err(Error::operation("slice: division by zero"));
    }
    run.spend(count.saturating_mul(4))?;
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut rest = items.as_slice();
    let mut slices = Vec::with_capacity(count);
    for number in 0..count {
        let (slice, following) = rest.split_at(each + usize::from(number < longer));
        rest = following;
        let fill = fill.clone().filter(|_| number >= longer);
        slices.push(Value::list(slice.iter().cloned().chain(fill).collect()));
    }
    Ok(Value::generator(slices))
}

/// A group of `groupby`.
pub(super) fn group(key: Value, items: Vec<Value>) -> Value {
    Value::Group(Rc::new(Items(vec![key, Value::list(items)])))
}
