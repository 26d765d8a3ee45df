//! Jinja's tests: what stands behind `is`.

#![forbid(unsafe_code)]

use super::arguments::{Arguments, given};
use super::arithmetic::{Operator, binary};
use super::compare::{Comparison, compare, equal};
use super::error::Error;
use super::repr::to_text;
use super::run::Run;
use super::value::{Str, Value};
use super::{filters, strings};

pub(super) type Test = fn(&Run, &Value, Arguments) -> Result<bool, Error>;

/// Tests that only look at the value.
macro_rules! simple {
    ($name:literal, $question:expr) => {
        |_, value, arguments| {
            arguments.none($name)?;
            let question: fn(&Value) -> bool = $question;
            Ok(question(value))
        }
    };
}

pub(super) fn find(name: &str) -> Option<Test> {
    Some(match name {
        "defined" => simple!("defined", |value| !value.is_undefined()),
        "undefined" => simple!("undefined", Value::is_undefined),
        "none" => simple!("none", |value| matches!(value, Value::None)),
        "boolean" => simple!("boolean", |value| matches!(value, Value::Bool(_))),
        "true" => simple!("true", |value| matches!(value, Value::Bool(true))),
        "false" => simple!("false", |value| matches!(value, Value::Bool(false))),
        "integer" => simple!("integer", |value| matches!(value, Value::Int(_))),
        "float" => simple!("float", |value| matches!(value, Value::Float(_))),
        "number" => simple!("number", |value| value.as_float().is_some()),
        "string" => simple!("string", |value| matches!(value, Value::Str(_))),
        "escaped" => simple!("escaped", |value| matches!(value, Value::Str(Str { is_safe: true, .. }))),
        "mapping" => simple!("mapping", |value| matches!(value, Value::Dict(_))),
        "iterable" => simple!("iterable", |value| value.has_len() || matches!(value, Value::Generator(_))),
        "sequence" => {
            simple!("sequence", |value| { value.has_len() && !matches!(value, Value::View(..) | Value::Loop(_)) })
        }
        "callable" => simple!("callable", |value| {
            matches!(
                value,
                Value::Undefined(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Macro(_)
                    | Value::Loop(_)
                    | Value::Joiner(_)
            )
        }),
        "filter" => simple!("filter", |value| value.as_str().is_some_and(|name| filters::find(name).is_some())),
        "test" => simple!("test", |value| value.as_str().is_some_and(|name| find(name).is_some())),
        "lower" => |run, value, arguments| case(run, value, arguments, "islower"),
        "upper" => |run, value, arguments| case(run, value, arguments, "isupper"),
        "odd" => |run, value, arguments| {
            arguments.none("odd")?;
            remainder_is(run, value, 2, 1)
        },
        "even" => |run, value, arguments| {
            arguments.none("even")?;
            remainder_is(run, value, 2, 0)
        },
        "divisibleby" => |run, value, arguments| {
            let [divisor] = arguments.take("divisibleby", 1, ["num"])?;
            let rest = binary(run, Operator::Remainder, value, &given(divisor))?;
            equal(run, &rest, &Value::Int(0))
        },
        "sameas" => |run, value, arguments| {
            let [other] = arguments.take("sameas", 1, ["other"])?;
            match (value, given(other)) {
                // Python shares equal texts of a template.
                (Value::Str(_), other @ Value::Str(_)) => equal(run, value, &other),
                (_, other) => Ok(value.is_same(&other)),
            }
        },
        "==" | "eq" | "equalto" => |run, value, arguments| compared(run, value, arguments, Comparison::Equal),
        "!=" | "ne" => |run, value, arguments| compared(run, value, arguments, Comparison::Unequal),
        "<" | "lt" | "lessthan" => |run, value, arguments| compared(run, value, arguments, Comparison::Less),
        "<=" | "le" => |run, value, arguments| compared(run, value, arguments, Comparison::LessOrEqual),
        ">" | "gt" | "greaterthan" => |run, value, arguments| compared(run, value, arguments, Comparison::Greater),
        ">=" | "ge" => |run, value, arguments| compared(run, value, arguments, Comparison::GreaterOrEqual),
        "in" => |run, value, arguments| compared(run, value, arguments, Comparison::In),
        _ => return None,
    })
}

fn compared(run: &Run, value: &Value, arguments: Arguments, comparison: Comparison) -> Result<bool, Error> {
    let [other] = arguments.take("a comparison", 1, ["_"])?;
    compare(run, comparison, value, &given(other))
}

fn remainder_is(run: &Run, value: &Value, divisor: i128, wanted: i128) -> Result<bool, Error> {
    let rest = binary(run, Operator::Remainder, value, &Value::Int(divisor))?;
    equal(run, &rest, &Value::Int(wanted))
}

fn case(run: &Run, value: &Value, arguments: Arguments, question: &str) -> Result<bool, Error> {
    let text = Value::str(to_text(run, value)?);
    match strings::method(question) {
        Some((_, call)) => Ok(call(run, &text, arguments)?.is_true()),
        None => Ok(false),
    }
}
