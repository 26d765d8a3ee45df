//! `+`, `-`, `*`, `/`, `//`, `%`, `**` of numbers, text and sequences. Integers have 128 bits here, not as many as they
//! need: beyond them is an error.

#![forbid(unsafe_code)]

use super::error::Error;
use super::html;
use super::percent_format;
use super::run::Run;
use super::value::{Items, Str, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Operator {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

pub(super) fn binary(run: &Run, operator: Operator, left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Operator::Remainder, Value::Str(format)) = (operator, left) {
        return percent_format::format(run, format, right);
    }
    if let Value::Undefined(reason) = left {
        return Err(Error::undefined(&**reason));
    }
    if let Value::Undefined(reason) = right {
        return Err(Error::undefined(&**reason));
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return integers(operator, left, right);
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return floats(operator, left, right).map(Value::Float);
    }
    match operator {
        Operator::Add => add(run, left, right)?,
        Operator::Multiply => match (left.as_int(), right.as_int()) {
            (None, Some(count)) => repeat(run, left, count)?,
            (Some(count), None) => repeat(run, right, count)?,
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| {
        Error::operation(format!(
            "unsupported operand types for {}: '{}' and '{}'",
            operator.symbol(),
            left.type_name(),
            right.type_name()
        ))
    })
}

pub(super) fn negate(value: &Value) -> Result<Value, Error> {
    match value {
        Value::Float(value) => Ok(Value::Float(-value)),
        Value::Undefined(reason) => Err(Error::undefined(&**reason)),
        _ => match value.as_int() {
            Some(value) => value.checked_neg().map(Value::Int).ok_or_else(too_large),
            None => Err(Error::operation(format!("bad operand type for unary -: '{}'", value.type_name()))),
        },
    }
}

pub(super) fn too_large() -> Error {
    Error::operation("an integer of more than 128 bits")
}

fn add(run: &Run, left: &Value, right: &Value) -> Result<Option<Value>, Error> {
    let joined = |left: &[Value], right: &[Value]| -> Result<Vec<Value>, Error> {
        run.spend(left.len() + right.len())?;
        Ok([left, right].concat())
    };
    Ok(Some(match (left, right) {
        (Value::Str(left), Value::Str(right)) => {
            run.bytes(left.text.len() + right.text.len())?;
            let is_safe = left.is_safe || right.is_safe;
            let escaped = |text: &Str| html::escaped_unless(run, text, !is_safe);
            let text = [&*escaped(left)?, &*escaped(right)?].concat().into();
            Value::Str(Str { text, is_safe })
        }
        (Value::List(left), Value::List(right)) => Value::list(joined(left, right)?),
        _ => match (left.as_tuple(), right.as_tuple()) {
            (Some(left), Some(right)) => Value::tuple(joined(left, right)?),
            _ => return Ok(None),
        },
    }))
}

fn repeat(run: &Run, value: &Value, count: i128) -> Result<Option<Value>, Error> {
    // Whatever is repeated, more than this is more than can be paid for.
    let count = usize::try_from(count.clamp(0, u32::MAX.into())).unwrap_or(0);
    let items = |items: &Items| -> Result<Vec<Value>, Error> {
        run.spend(items.len().saturating_mul(count))?;
        Ok(std::iter::repeat_n(items, count).flat_map(|items| items.iter().cloned()).collect())
    };
    Ok(Some(match value {
        Value::Str(Str { text, is_safe }) => {
            run.bytes(text.len().saturating_mul(count))?;
            Value::Str(Str { text: text.repeat(count).into(), is_safe: *is_safe })
        }
        Value::List(list) => Value::list(items(list)?),
        Value::Tuple(tuple) | Value::Group(tuple) => Value::tuple(items(tuple)?),
        _ => return Ok(None),
    }))
}

fn integers(operator: Operator, left: i128, right: i128) -> Result<Value, Error> {
    let by_zero = || Error::operation("division by zero");
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide | Operator::FloorDivide | Operator::Remainder if right == 0 => return Err(by_zero()),
        Operator::Divide => return Ok(Value::Float(left as f64 / right as f64)),
        Operator::FloorDivide => left.checked_div(right).map(|quotient| {
            let is_inexact = left % right != 0;
            quotient - i128::from(is_inexact && (left < 0) != (right < 0))
        }),
        Operator::Remainder => left.checked_rem(right).map(|rest| {
            let is_other_sign = rest != 0 && (rest < 0) != (right < 0);
            if is_other_sign { rest + right } else { rest }
        }),
        Operator::Power if right < 0 => return floats(operator, left as f64, right as f64).map(Value::Float),
        Operator::Power => match left {
            0 | 1 => Some(if right == 0 { 1 } else { left }),
            -1 => Some(if right % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
        },
    };
    result.map(Value::Int).ok_or_else(too_large)
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<f64, Error> {
    if right == 0.0 && matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder) {
        return Err(Error::operation("division by zero"));
    }
    match operator {
        Operator::Add => Ok(left + right),
        Operator::Subtract => Ok(left - right),
        Operator::Multiply => Ok(left * right),
        Operator::Divide => Ok(left / right),
        Operator::FloorDivide => Ok(divide(left, right).0),
        Operator::Remainder => Ok(divide(left, right).1),
        Operator::Power => {
            if left == 0.0 && right < 0.0 {
                return Err(Error::operation("zero cannot be raised to a negative power"));
            }
            if left < 0.0 && left.is_finite() && right.is_finite() && right.fract() != 0.0 {
                return Err(Error::operation("complex numbers are not supported"));
            }
            let power = left.powf(right);
            match power.is_infinite() && left.is_finite() && right.is_finite() {
                true => Err(Error::operation("the result of ** is too large")),
                false => Ok(power),
            }
        }
    }
}

/// Quotient rounded down and remainder with the divisor's sign, by the steps of Python's `float_divmod`.
fn divide(left: f64, right: f64) -> (f64, f64) {
    let mut rest = left % right;
    let mut quotient = (left - rest) / right;
    if rest == 0.0 {
        rest = 0.0f64.copysign(right);
    } else if (right < 0.0) != (rest < 0.0) {
        rest += right;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0f64.copysign(left / right), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}
