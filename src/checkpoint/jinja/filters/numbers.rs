//! Filters that give numbers.

#![forbid(unsafe_code)]

use super::Filter;
use crate::checkpoint::jinja::arguments::{Arguments, integer, text};
use crate::checkpoint::jinja::arithmetic::too_large;
use crate::checkpoint::jinja::characters::{decimal, is_space};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::Value;

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "abs" => abs,
        "int" => int,
        "float" => float,
        "round" => round,
        "filesizeformat" => file_size,
        _ => return None,
    })
}

fn no_number(filter: &str, value: &Value) -> Error {
    match value {
        Value::Undefined(reason) => Error::undefined(&**reason),
        _ => Error::operation(format!("{filter}: expected a number, found '{}'", value.type_name())),
    }
}

fn abs(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    arguments.none("abs")?;
    match value {
        Value::Float(value) => Ok(Value::Float(value.abs())),
        _ => {
            let value = value.as_int().ok_or_else(|| no_number("abs", value))?;
            value.checked_abs().map(Value::Int).ok_or_else(too_large)
        }
    }
}

/// The digits of a number as Python's `int` and `float` read them: in any script, `_` only between two.
fn ascii_digits(text: &str) -> Option<String> {
    let text = text.trim_matches(is_space);
    let mut digits = String::with_capacity(text.len());
    let mut before = None;
    for character in text.chars() {
        match (decimal(character).and_then(|digit| char::from_digit(digit, 10)), character) {
            (Some(digit), _) => digits.push(digit),
            (None, '_') if before != Some('_') => {}
            (None, character) if character.is_ascii() && character != '_' => digits.push(character),
            _ => return None,
        }
        // Whatever stands beside an underscore has to be a digit, of hexadecimal numbers too.
        let is_digit = |character: char| character.is_ascii_hexdigit() || decimal(character).is_some();
        let is_beside_digits = match (before, character) {
            (Some('_'), _) => is_digit(character),
            (Some(before), '_') => is_digit(before) || "xXoObB".contains(before),
            (None, '_') => false,
            _ => true,
        };
        if !is_beside_digits {
            return None;
        }
        before = Some(character);
    }
    (before != Some('_')).then_some(digits)
}

fn parse_int(text: &str, base: i128) -> Option<Result<i128, Error>> {
    let digits = ascii_digits(text)?;
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let prefixed = |letter| {
        let rest = digits.strip_prefix('0')?;
        rest.strip_prefix(letter).or_else(|| rest.strip_prefix(char::to_ascii_uppercase(&letter)))
    };
    let (base, digits) = match base {
        0 => match (prefixed('x'), prefixed('o'), prefixed('b')) {
            (Some(digits), ..) => (16, digits),
            (_, Some(digits), _) => (8, digits),
            (.., Some(digits)) => (2, digits),
            _ => (10, digits),
        },
        16 => (16, prefixed('x').unwrap_or(digits)),
        8 => (8, prefixed('o').unwrap_or(digits)),
        2 => (2, prefixed('b').unwrap_or(digits)),
        3..=36 => (u32::try_from(base).ok()?, digits),
        _ => return None,
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let sign = if is_negative { "-" } else { "" };
    Some(i128::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| too_large()))
}

fn parse_float(text: &str) -> Option<f64> {
    ascii_digits(text)?.parse().ok()
}

fn whole(value: f64) -> Option<Result<i128, Error>> {
    if !value.is_finite() {
        return None;
    }
    let value = value.trunc();
    Some(if value.abs() < i128::MAX as f64 { Ok(value as i128) } else { Err(too_large()) })
}

fn int(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [default, base] = arguments.take("int", 0, ["default", "base"])?;
    let base = integer("int", base.as_ref(), 10)?;
    let parsed = match value {
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        Value::Float(float) if float.is_infinite() => return Err(Error::operation("int: infinity is no integer")),
        Value::Float(float) => whole(*float),
        Value::Str(text) => {
            run.bytes(text.text.len().saturating_mul(8))?;
            parse_int(&text.text, base).or_else(|| parse_float(&text.text).and_then(whole))
        }
        _ => value.as_int().map(Ok),
    };
    parsed.transpose().map(|parsed| parsed.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
}

fn float(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [default] = arguments.take("float", 0, ["default"])?;
    let parsed = match value {
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        Value::Str(text) => {
            run.bytes(text.text.len().saturating_mul(8))?;
            parse_float(&text.text)
        }
        _ => value.as_float(),
    };
    Ok(parsed.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
}

fn round(_: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [precision, method] = arguments.take("round", 0, ["precision", "method"])?;
    let precision = integer("round", precision.as_ref(), 0)?;
    let method = method.unwrap_or_else(|| Value::str("common"));
    let method = text("round", &method)?;
    let float = value.as_float().ok_or_else(|| no_number("round", value))?;
    let change: fn(f64) -> f64 = match method {
        "common" => {
            return match (value.as_int(), precision) {
                (Some(integer), 0..) => Ok(Value::Int(integer)),
                (Some(integer), _) => round_integer(integer, precision).map(Value::Int),
                (None, _) => Ok(Value::Float(round_float(float, precision))),
            };
        }
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        _ => return Err(Error::operation("round: method must be common, ceil or floor")),
    };
    let scale = 10f64.powi(i32::try_from(precision.clamp(-400, 400)).unwrap_or(0));
    let changed = change(float * scale);
    if !changed.is_finite() {
        return Err(Error::operation("round: the number is too large"));
    }
    Ok(Value::Float(changed / scale))
}

/// To tens, hundreds and so on; halves to the even one.
fn round_integer(value: i128, precision: i128) -> Result<i128, Error> {
    let power = u32::try_from(precision.unsigned_abs()).ok().and_then(|power| 10i128.checked_pow(power));
    let Some(unit) = power else { return Ok(0) };
    let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let is_up = rest > unit - rest || rest == unit - rest && quotient % 2 != 0;
    (quotient + i128::from(is_up)).checked_mul(unit).ok_or_else(too_large)
}

/// By its exact decimal digits, as Python rounds.
fn round_float(value: f64, precision: i128) -> f64 {
    match precision {
        0.. => {
            // A float has no more digits behind its point.
            let precision = usize::try_from(precision).unwrap_or(usize::MAX).min(1100);
            format!("{value:.precision$}").parse().unwrap_or(value)
        }
        _ => {
            let unit = 10f64.powi(i32::try_from(-precision.max(-400)).unwrap_or(400));
            let rounded = (value / unit).round_ties_even() * unit;
            if unit.is_infinite() { 0.0f64.copysign(value) } else { rounded }
        }
    }
}

fn file_size(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [binary] = arguments.take("filesizeformat", 0, ["binary"])?;
    let is_binary = binary.is_some_and(|binary| binary.is_true());
    let Value::Float(bytes) = float(run, value, Arguments::default())? else { return Err(no_number("", value)) };
    let base = if is_binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::str(format!("{} Bytes", bytes.trunc())));
    }
    let mut unit = base;
    let mut prefixes = "kMGTPEZY".chars().peekable();
    while let Some(prefix) = prefixes.next() {
        unit *= base;
        if bytes < unit || prefixes.peek().is_none() {
            let prefix = if is_binary { prefix.to_ascii_uppercase().to_string() + "i" } else { prefix.to_string() };
            return Ok(Value::str(format!("{:.1} {prefix}B", base * bytes / unit)));
        }
    }
    Ok(Value::None)
}
