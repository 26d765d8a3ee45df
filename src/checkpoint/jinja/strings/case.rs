//! Upper and lower case.

#![forbid(unsafe_code)]

use super::own;
use crate::checkpoint::jinja::arguments::Arguments;
use crate::checkpoint::jinja::characters::{is_cased, titlecase};
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{MethodCall, Value};

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    Some(match name {
        "lower" => ("lower", |run, value, arguments| changed(run, value, arguments, str::to_lowercase)),
        "upper" => ("upper", |run, value, arguments| changed(run, value, arguments, str::to_uppercase)),
        "capitalize" => ("capitalize", |run, value, arguments| changed(run, value, arguments, capitalize)),
        "title" => ("title", |run, value, arguments| changed(run, value, arguments, title)),
        "swapcase" => ("swapcase", |run, value, arguments| changed(run, value, arguments, swap_case)),
        "casefold" => ("casefold", |run, value, arguments| changed(run, value, arguments, fold_case)),
        _ => return None,
    })
}

fn changed(run: &Run, value: &Value, arguments: Arguments, change: fn(&str) -> String) -> Result<Value, Error> {
    arguments.none("a method that changes the case")?;
    let text = own(value);
    // No character becomes more than three.
    run.bytes(text.len().saturating_mul(3))?;
    Ok(Value::str(change(text)))
}

pub(in crate::checkpoint::jinja) fn capitalize(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(titlecase).unwrap_or_default();
    first + &rest.as_str().to_lowercase()
}

fn title(text: &str) -> String {
    let mut title = String::with_capacity(text.len());
    let mut is_within_word = false;
    for character in text.chars() {
        match is_within_word {
            true => title.extend(character.to_lowercase()),
            false => title.push_str(&titlecase(character)),
        }
        is_within_word = is_cased(character);
    }
    title
}

fn swap_case(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_uppercase() {
            swapped.extend(character.to_lowercase());
        } else if character.is_lowercase() {
            swapped.extend(character.to_uppercase());
        } else {
            swapped.push(character);
        }
    }
    swapped
}

/// Unicode's full case folding: there and back again makes alike what differs by case only. Dotless `ı` stays.
fn fold_case(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'ı' => folded.push(character),
            _ => {
                let upper = character.to_lowercase().flat_map(char::to_uppercase);
                folded.extend(upper.flat_map(char::to_lowercase));
            }
        }
    }
    folded
}
