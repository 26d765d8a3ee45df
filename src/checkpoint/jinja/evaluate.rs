//! Expressions → values.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::access::{attribute, item, iterate, slice};
use super::arguments::Arguments;
use super::arithmetic::{binary, negate};
use super::ast::{CallArguments, Expression, ExpressionKind, FilterCall};
use super::compare::compare;
use super::dict::Dict;
use super::error::Error;
use super::repr::to_text;
use super::run::Run;
use super::scope::Scope;
use super::value::Value;
use super::{calls, filters, globals, predicates};

pub(super) fn evaluate(run: &Run, scope: &Rc<Scope>, expression: &Expression) -> Result<Value, Error> {
    let _level = run.enter().map_err(|error| error.at(expression.line))?;
    value_of(run, scope, expression).map_err(|error| error.at(expression.line))
}

fn value_of(run: &Run, scope: &Rc<Scope>, expression: &Expression) -> Result<Value, Error> {
    let value = |expression: &Expression| evaluate(run, scope, expression);
    match &expression.kind {
        ExpressionKind::Constant(value) => Ok(value.clone()),
        ExpressionKind::Name(name) => {
            let found = scope.get(name).or_else(|| globals::find(name));
            Ok(found.unwrap_or_else(|| Value::undefined(format!("'{name}' is undefined"))))
        }
        ExpressionKind::List(items) => Ok(Value::list(items.iter().map(value).collect::<Result<_, _>>()?)),
        ExpressionKind::Tuple(items) => Ok(Value::tuple(items.iter().map(value).collect::<Result<_, _>>()?)),
        ExpressionKind::Dict(pairs) => {
            let mut dict = Dict::default();
            for (key, of_key) in pairs {
                dict.insert(run, value(key)?, value(of_key)?)?;
            }
            Ok(Value::dict(dict))
        }
        ExpressionKind::Not(operand) => Ok(Value::Bool(!value(operand)?.is_true())),
        ExpressionKind::Sign { is_negative: true, value: operand } => negate(&value(operand)?),
        // As good as subtracting it from nothing, twice.
        ExpressionKind::Sign { value: operand, .. } => negate(&negate(&value(operand)?)?),
        ExpressionKind::Binary(operator, left, right) => binary(run, *operator, &value(left)?, &value(right)?),
        ExpressionKind::Concat(parts) => {
            let mut text = String::new();
            for part in parts {
                let part = to_text(run, &value(part)?)?;
                run.bytes(part.len())?;
                text.push_str(&part);
            }
            Ok(Value::str(text))
        }
        ExpressionKind::And(left, right) => match value(left)? {
            left if left.is_true() => value(right),
            left => Ok(left),
        },
        ExpressionKind::Or(left, right) => match value(left)? {
            left if left.is_true() => Ok(left),
            _ => value(right),
        },
        ExpressionKind::Compare(first, rest) => {
            let mut left = value(first)?;
            for (comparison, right) in rest {
                let right = value(right)?;
                if !compare(run, *comparison, &left, &right)? {
                    return Ok(Value::Bool(false));
                }
                left = right;
            }
            Ok(Value::Bool(true))
        }
        ExpressionKind::Conditional { condition, then, otherwise } => match (value(condition)?.is_true(), otherwise) {
            (true, _) => value(then),
            (false, Some(otherwise)) => value(otherwise),
            (false, None) => Ok(Value::undefined("an inline if is false and has no else")),
        },
        ExpressionKind::Attribute(of, name) => attribute(run, &value(of)?, name),
        ExpressionKind::Item(of, key) => item(run, &value(of)?, &value(key)?),
        ExpressionKind::Slice(of, bounds) => {
            let of = value(of)?;
            let bound = |bound: &Option<Box<Expression>>| bound.as_ref().map_or(Ok(Value::None), |bound| value(bound));
            let [start, stop, step] = bounds;
            slice(run, &of, &[bound(start)?, bound(stop)?, bound(step)?])
        }
        ExpressionKind::Call(callee, arguments) => {
            let callee = value(callee)?;
            calls::call(run, &callee, evaluate_arguments(run, scope, arguments)?)
        }
        ExpressionKind::Filter(of, filter) => apply(run, scope, value(of)?, filter),
        ExpressionKind::Test(of, name, arguments) => {
            let test = predicates::find(name).ok_or_else(|| Error::operation(format!("no test is named '{name}'")))?;
            let of = value(of)?;
            test(run, &of, evaluate_arguments(run, scope, arguments)?).map(Value::Bool)
        }
    }
}

pub(super) fn apply(run: &Run, scope: &Rc<Scope>, value: Value, filter: &FilterCall) -> Result<Value, Error> {
    let name = &filter.name;
    let call = filters::find(name).ok_or_else(|| Error::operation(format!("no filter is named '{name}'")))?;
    call(run, &value, evaluate_arguments(run, scope, &filter.arguments)?).map_err(|error| error.at(filter.line))
}

pub(super) fn evaluate_arguments(run: &Run, scope: &Rc<Scope>, calls: &CallArguments) -> Result<Arguments, Error> {
    let mut arguments = Arguments::default();
    for argument in &calls.positional {
        arguments.positional.push(evaluate(run, scope, argument)?);
    }
    if let Some(sequence) = &calls.sequence {
        arguments.positional.extend(iterate(run, &evaluate(run, scope, sequence)?)?);
    }
    for (name, argument) in &calls.named {
        let argument = evaluate(run, scope, argument)?;
        push_named(run, &mut arguments, name.clone(), argument)?;
    }
    if let Some(mapping) = &calls.mapping {
        let mapping = evaluate(run, scope, mapping)?;
        let Value::Dict(dict) = &mapping else {
            return Err(Error::operation(format!("'{}' object after ** is no mapping", mapping.type_name())));
        };
        run.spend(dict.len())?;
        for (key, value) in dict.iter() {
            let name = key.as_str().ok_or_else(|| Error::operation("names of arguments must be strings"))?;
            push_named(run, &mut arguments, name.into(), value.clone())?;
        }
    }
    Ok(arguments)
}

fn push_named(run: &Run, arguments: &mut Arguments, name: Rc<str>, value: Value) -> Result<(), Error> {
    run.spend(arguments.named.len())?;
    match arguments.named.iter().any(|(known, _)| *known == name) {
        true => Err(Error::operation(format!("multiple values for the argument '{name}'"))),
        false => {
            arguments.named.push((name, value));
            Ok(())
        }
    }
}
