//! `==`, `<` and their like, and `in`. What has no order in Python has none here.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

use super::access::iterate;
use super::dict::Dict;
use super::error::Error;
use super::run::Run;
use super::value::{Value, View};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Comparison {
    pub(super) fn by_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "==" => Self::Equal,
            "!=" => Self::Unequal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            _ => order.is_ge(),
        }
    }
}

pub(super) fn compare(run: &Run, comparison: Comparison, left: &Value, right: &Value) -> Result<bool, Error> {
    match comparison {
        Comparison::Equal => equal(run, left, right),
        Comparison::Unequal => Ok(!equal(run, left, right)?),
        Comparison::In => contains(run, right, left),
        Comparison::NotIn => Ok(!contains(run, right, left)?),
        _ => ordered(run, comparison, left, right),
    }
}

pub(super) fn less(run: &Run, left: &Value, right: &Value) -> Result<bool, Error> {
    ordered(run, Comparison::Less, left, right)
}

fn ordered(run: &Run, comparison: Comparison, left: &Value, right: &Value) -> Result<bool, Error> {
    let _level = run.enter()?;
    match (left, right) {
        (Value::Undefined(reason), _) | (_, Value::Undefined(reason)) => Err(Error::undefined(&**reason)),
        (Value::Str(left), Value::Str(right)) => {
            run.bytes(left.text.len())?;
            Ok(comparison.holds(left.text.cmp(&right.text)))
        }
        (Value::List(left), Value::List(right)) => sequences(run, comparison, left, right),
        _ => {
            if let (Some(left), Some(right)) = (left.as_tuple(), right.as_tuple()) {
                return sequences(run, comparison, left, right);
            }
            match numbers(left, right) {
                Some(order) => Ok(order.is_some_and(|order| comparison.holds(order))),
                None => Err(Error::operation(format!(
                    "'{}' not supported between instances of '{}' and '{}'",
                    comparison.symbol(),
                    left.type_name(),
                    right.type_name()
                ))),
            }
        }
    }
}

/// The first pair that differs decides, or else the lengths.
fn sequences(run: &Run, comparison: Comparison, left: &[Value], right: &[Value]) -> Result<bool, Error> {
    for (left, right) in left.iter().zip(right) {
        if !equal(run, left, right)? {
            return ordered(run, comparison, left, right);
        }
    }
    Ok(comparison.holds(left.len().cmp(&right.len())))
}

/// `None` if one is no number, `Some(None)` if one is not a number.
fn numbers(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Some(left.partial_cmp(right)),
        (Value::Float(left), right) => {
            Some(right.as_int().map(|right| int_and_float(right, *left))?.map(Ordering::reverse))
        }
        (left, Value::Float(right)) => Some(int_and_float(left.as_int()?, *right)),
        _ => Some(Some(left.as_int()?.cmp(&right.as_int()?))),
    }
}

/// Exactly, as neither can hold all values of the other.
fn int_and_float(int: i128, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = i128::MAX as f64;
    if float.abs() >= BEYOND || float.is_nan() {
        return 0.0.partial_cmp(&float);
    }
    Some(int.cmp(&(float.trunc() as i128)).then(0.0.partial_cmp(&float.fract())?))
}

pub(super) fn equal(run: &Run, left: &Value, right: &Value) -> Result<bool, Error> {
    let _level = run.enter()?;
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::Str(left), Value::Str(right)) => {
            run.bytes(left.text.len())?;
            left.text == right.text
        }
        (Value::List(left), Value::List(right)) => equal_items(run, left, right)?,
        (Value::Dict(left), Value::Dict(right)) => equal_dicts(run, left, right)?,
        (Value::Range(left), Value::Range(right)) => left.items().eq(right.items()),
        (Value::View(left_kind, left), Value::View(right_kind, right))
            if left_kind == right_kind && *left_kind != View::Values =>
        {
            match left_kind {
                View::Keys => left.len() == right.len() && equal_keys(run, left, right)?,
                _ => equal_dicts(run, left, right)?,
            }
        }
        _ => match (left.as_tuple(), right.as_tuple()) {
            (Some(left), Some(right)) => equal_items(run, left, right)?,
            _ => match numbers(left, right) {
                Some(order) => order == Some(Ordering::Equal),
                None => left.is_same(right),
            },
        },
    })
}

fn equal_items(run: &Run, left: &[Value], right: &[Value]) -> Result<bool, Error> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (left, right) in left.iter().zip(right) {
        if !left.is_same(right) && !equal(run, left, right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_keys(run: &Run, left: &Dict, right: &Dict) -> Result<bool, Error> {
    for key in left.keys() {
        if right.get(run, key)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_dicts(run: &Run, left: &Dict, right: &Dict) -> Result<bool, Error> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (key, value) in left.iter() {
        match right.get(run, key)? {
            Some(other) if value.is_same(other) || equal(run, value, other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

pub(super) fn contains(run: &Run, container: &Value, value: &Value) -> Result<bool, Error> {
    match container {
        Value::Str(text) => match value {
            Value::Str(part) => {
                run.bytes(text.text.len())?;
                Ok(text.text.contains(&*part.text))
            }
            Value::Undefined(reason) => Err(Error::undefined(&**reason)),
            _ => Err(Error::operation(format!(
                "'in <string>' requires string as left operand, not {}",
                value.type_name()
            ))),
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(run, value)?.is_some()),
        _ => {
            for item in iterate(run, container)? {
                if item.is_same(value) || equal(run, &item, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}
