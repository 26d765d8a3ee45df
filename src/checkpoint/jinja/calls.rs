//! Calls of whatever can be called.

#![forbid(unsafe_code)]

use super::arguments::Arguments;
use super::dict::Dict;
use super::error::Error;
use super::evaluate::evaluate;
use super::render::{loop_again, text_of};
use super::run::Run;
use super::scope::Scope;
use super::value::{Closure, Value};
use super::{globals, loops, strings};

pub(super) fn call(run: &Run, callee: &Value, arguments: Arguments) -> Result<Value, Error> {
    let _level = run.enter()?;
    match callee {
        Value::Function(function) => (function.call)(run, arguments),
        Value::Method(method) => match method.receiver.first() {
            Some(receiver @ Value::Str(text)) if text.is_safe => strings::call_safe(run, method, receiver, arguments),
            Some(receiver) => (method.call)(run, receiver, arguments),
            None => Ok(Value::None),
        },
        Value::Macro(closure) => call_macro(run, closure, arguments),
        Value::Joiner(joiner) => globals::call_joiner(joiner, arguments),
        Value::Loop(state) => match &state.recursive {
            Some((definition, scope)) => {
                let items = loops::call_items(run, arguments)?;
                loop_again(run, scope, definition, items, state.depth + 1)
            }
            None => Err(Error::operation("the loop must have the 'recursive' marker to be called")),
        },
        Value::Undefined(reason) => Err(Error::undefined(&**reason)),
        _ => Err(Error::operation(format!("'{}' object is not callable", callee.type_name()))),
    }
}

fn call_macro(run: &Run, closure: &Closure, mut arguments: Arguments) -> Result<Value, Error> {
    let definition = &closure.definition;
    let scope = Scope::within(&closure.scope);
    let caller = match definition.uses.caller {
        true => arguments.take_named("caller"),
        false => None,
    };
    let mut positional = arguments.positional.into_iter();
    let mut missing = Vec::new();
    for (name, default) in &definition.parameters {
        run.spend(arguments.named.len())?;
        let named = arguments.named.iter().position(|(known, _)| known == name);
        let named = named.map(|index| arguments.named.remove(index).1);
        let value = match (positional.next(), named) {
            (Some(_), Some(_)) => {
                return Err(Error::operation(format!("macro '{}' got two values for '{name}'", definition.name)));
            }
            (Some(value), None) | (None, Some(value)) => value,
            (None, None) => {
                missing.extend(default.as_ref().map(|default| (name, default)));
                Value::undefined(format!("parameter '{name}' was not provided"))
            }
        };
        scope.set(name.clone(), value);
    }
    if definition.uses.caller && !definition.parameters.iter().any(|(name, _)| &**name == "caller") {
        scope.set("caller".into(), caller.unwrap_or_else(|| Value::undefined("No caller defined")));
    }
    if definition.uses.kwargs {
        let mut named = Dict::default();
        for (name, value) in arguments.named.drain(..) {
            named.insert(run, Value::str(name), value)?;
        }
        scope.set("kwargs".into(), Value::dict(named));
    } else if let Some((name, _)) = arguments.named.first() {
        return Err(Error::operation(format!("macro '{}' takes no keyword argument '{name}'", definition.name)));
    }
    if definition.uses.varargs {
        scope.set("varargs".into(), Value::tuple(positional.collect()));
    } else if positional.next().is_some() {
        let count = definition.parameters.len();
        return Err(Error::operation(format!("macro '{}' takes not more than {count} arguments", definition.name)));
    }
    // In order, so that a default can refer to the parameters before it.
    for (name, default) in missing {
        scope.set(name.clone(), evaluate(run, &scope, default)?);
    }
    text_of(run, &scope, &definition.body)
}
