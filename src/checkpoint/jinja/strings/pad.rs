//! Text of a given width.

#![forbid(unsafe_code)]

use super::own;
use crate::checkpoint::jinja::arguments::{Arguments, integer, text};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{MethodCall, Value};

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "center" => ("center", |run, value, arguments| padded(run, value, arguments, Side::Both)),
        "ljust" => ("ljust", |run, value, arguments| padded(run, value, arguments, Side::Right)),
        "rjust" => ("rjust", |run, value, arguments| padded(run, value, arguments, Side::Left)),
        "zfill" => ("zfill", zfill),
        "expandtabs" => ("expandtabs", expand_tabs),
        _ => return None,
    })
}

/// Where it is filled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Both,
}

fn padded(run: &Run, value: &Value, arguments: Arguments, side: Side) -> Result<Value, Error> {
    let [width, fill] = arguments.take("padding", 1, ["_", "_"])?;
    let width = integer("padding", width.as_ref(), 0)?;
    let mut fill = fill.as_ref().map_or(Ok(" "), |fill| text("padding", fill))?.chars();
    match (fill.next(), fill.next()) {
        (Some(fill), None) => pad(run, own(value), width, fill, side).map(Value::str),
        _ => Err(Error::operation("the fill character must be exactly one character long")),
    }
}

fn pad(run: &Run, text: &str, width: i128, fill: char, side: Side) -> Result<String, Error> {
    let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
    let missing = width.saturating_sub(text.chars().count());
    run.bytes(text.len().saturating_add(missing.saturating_mul(4)))?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python leans to the left, but for an odd gap in an odd width.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let fill = |count| std::iter::repeat_n(fill, count);
    Ok(fill(left).chain(text.chars()).chain(fill(missing - left)).collect())
}

pub(in crate::checkpoint::jinja) fn center(run: &Run, text: &str, width: i128) -> Result<String, Error> {
    pad(run, text, width, ' ', Side::Both)
}

fn zfill(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [width] = arguments.take("zfill", 1, ["_"])?;
    let width = integer("zfill", width.as_ref(), 0)?;
    let text = own(value);
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    let digits = pad(run, digits, width.saturating_sub(sign.len() as i128), '0', Side::Left)?;
    Ok(Value::str(format!("{sign}{digits}")))
}

fn expand_tabs(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [size] = arguments.take("expandtabs", 0, ["tabsize"])?;
    let size = usize::try_from(integer("expandtabs", size.as_ref(), 8)?.max(0)).unwrap_or(usize::MAX);
    let mut expanded = String::new();
    let mut column = 0;
    for character in own(value).chars() {
        match character {
            '\t' => {
                let spaces = if size == 0 { 0 } else { size - column % size };
                run.bytes(spaces)?;
                expanded.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\n' | '\r' => {
                expanded.push(character);
                column = 0;
            }
            _ => {
                expanded.push(character);
                column += 1;
            }
        }
    }
    run.bytes(expanded.len())?;
    Ok(Value::str(expanded))
}
