//! The functions that a template finds: Jinja's `range`, `dict`, `namespace`, `cycler` and `joiner`, and transformers'
//! `raise_exception` and `strftime_now`.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;

use super::access::{iterate, unpack};
use super::arguments::{Arguments, given, integer, text};
use super::dict::Dict;
use super::error::Error;
use super::range::Range;
use super::repr::to_text;
use super::run::Run;
use super::strftime;
use super::value::{Closure, Cycler, Function, Items, Joiner, MethodCall, Namespace, Value};

pub(super) fn find(name: &str) -> Option<Value> {
    let function = |name, call| Some(Value::Function(Function { name, call }));
    match name {
        "range" => function("range", range),
        "dict" => function("dict", |run, arguments| dict(run, "dict", arguments).map(Value::dict)),
        "namespace" => function("namespace", namespace),
        "cycler" => function("cycler", cycler),
        "joiner" => function("joiner", joiner),
        "raise_exception" => function("raise_exception", raise_exception),
        "strftime_now" => function("strftime_now", strftime_now),
        _ => None,
    }
}

fn range(_: &Run, arguments: Arguments) -> Result<Value, Error> {
    let [start, stop, step] = arguments.take("range", 1, ["_", "_", "_"])?;
    let first = integer("range", start.as_ref(), 0)?;
    let step = integer("range", step.as_ref(), 1)?;
    let (start, stop) = match stop {
        None => (0, first),
        Some(stop) => (first, integer("range", Some(&stop), 0)?),
    };
    Range::new(start, stop, step).map(|range| Value::Range(Rc::new(range)))
}

fn dict(run: &Run, function: &str, mut arguments: Arguments) -> Result<Dict, Error> {
    let named = std::mem::take(&mut arguments.named);
    let [from] = arguments.take(function, 0, ["_"])?;
    let mut dict = match from {
        None => Dict::default(),
        Some(Value::Dict(dict)) => Dict::clone(&dict),
        Some(pairs) => {
            let mut dict = Dict::default();
            for pair in iterate(run, &pairs)? {
                let mut pair = unpack(run, &pair, 2)?.into_iter();
                dict.insert(run, given(pair.next()), given(pair.next()))?;
            }
            dict
        }
    };
    run.spend(dict.len())?;
    for (name, value) in named {
        dict.insert(run, Value::str(name), value)?;
    }
    Ok(dict)
}

/// `dict.fromkeys`.
pub(super) fn from_keys(run: &Run, _: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [keys, value] = arguments.take("fromkeys", 1, ["_", "_"])?;
    let mut dict = Dict::default();
    for key in iterate(run, &given(keys))? {
        dict.insert(run, key, value.clone().unwrap_or(Value::None))?;
    }
    Ok(Value::dict(dict))
}

fn namespace(run: &Run, arguments: Arguments) -> Result<Value, Error> {
    let attributes = dict(run, "namespace", arguments)?;
    attributes.keys().iter().filter_map(Value::as_str).try_for_each(Namespace::check_name)?;
    Ok(Namespace::make(run, attributes))
}

fn cycler(_: &Run, arguments: Arguments) -> Result<Value, Error> {
    if arguments.positional.is_empty() || !arguments.named.is_empty() {
        return Err(Error::operation("cycler: at least one item has to be provided"));
    }
    Ok(Value::Cycler(Rc::new(Cycler { items: Items(arguments.positional), position: Cell::new(0) })))
}

pub(super) fn cycler_method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "next" => ("next", cycler_next),
        "reset" => ("reset", cycler_reset),
        _ => return None,
    })
}

fn cycler_next(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("next")?;
    let Value::Cycler(cycler) = value else { return Ok(Value::None) };
    let position = cycler.position.get();
    cycler.position.set((position + 1) % cycler.items.len());
    Ok(cycler.items[position].clone())
}

fn cycler_reset(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("reset")?;
    if let Value::Cycler(cycler) = value {
        cycler.position.set(0);
    }
    Ok(Value::None)
}

fn joiner(_: &Run, arguments: Arguments) -> Result<Value, Error> {
    let [separator] = arguments.take("joiner", 0, ["sep"])?;
    let separator = separator.unwrap_or_else(|| Value::str(", "));
    Ok(Value::Joiner(Rc::new(Joiner { separator: Items(vec![separator]), is_used: Cell::new(false) })))
}

/// Nothing at the first call.
pub(super) fn call_joiner(joiner: &Joiner, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("joiner")?;
    match joiner.is_used.replace(true) {
        true => Ok(given(joiner.separator.first().cloned())),
        false => Ok(Value::str("")),
    }
}

pub(super) fn macro_attribute(closure: &Closure, name: &str) -> Option<Value> {
    let definition = &closure.definition;
    Some(match name {
        "name" => Value::str(definition.name.clone()),
        "arguments" => Value::tuple(definition.parameters.iter().map(|(name, _)| Value::str(name.clone())).collect()),
        "catch_varargs" => Value::Bool(definition.uses.varargs),
        "catch_kwargs" => Value::Bool(definition.uses.kwargs),
        "caller" => Value::Bool(definition.uses.caller),
        _ => return None,
    })
}

fn raise_exception(run: &Run, arguments: Arguments) -> Result<Value, Error> {
    let [message] = arguments.take("raise_exception", 1, ["message"])?;
    Err(Error::operation(&*to_text(run, &given(message))?))
}

fn strftime_now(_: &Run, arguments: Arguments) -> Result<Value, Error> {
    let [format] = arguments.take("strftime_now", 1, ["format"])?;
    strftime::now(text("strftime_now", &given(format))?).map(Value::str)
}
