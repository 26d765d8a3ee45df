//! What characters a text is made of.

#![forbid(unsafe_code)]

use super::own;
use crate::checkpoint::jinja::characters::{decimal, is_cased, is_digit, is_printable, is_space};
use crate::checkpoint::jinja::value::{MethodCall, Value};

macro_rules! questions {
    ($name:expr, $($known:literal => $answer:expr),+ $(,)?) => {
        match $name {
            $($known => {
                let method: MethodCall = |run, value, arguments| {
                    arguments.none($known)?;
                    run.bytes(own(value).len())?;
                    let answer: fn(&str) -> bool = $answer;
                    Ok(Value::Bool(answer(own(value))))
                };
                Some(($known, method))
            })+
            _ => None,
        }
    };
}

pub(super) fn method(name: &str) -> Option<(&'static str, MethodCall)> {
    questions! { name,
        "isalpha" => |text| all(text, char::is_alphabetic),
        "isalnum" => |text| all(text, |character| character.is_alphanumeric() || is_digit(character)),
        "isascii" => str::is_ascii,
        "isdecimal" => |text| all(text, |character| decimal(character).is_some()),
        "isdigit" => |text| all(text, is_digit),
        "isnumeric" => |text| all(text, |character| character.is_numeric() || is_digit(character)),
        "isspace" => |text| all(text, is_space),
        "isprintable" => |text| text.chars().all(is_printable),
        "isidentifier" => |text| {
            text.starts_with(|first: char| first.is_alphabetic() || first == '_')
                && text.chars().all(|character| character.is_alphanumeric() || character == '_')
        },
        "islower" => |text| text.chars().any(is_cased) && text.chars().all(|character| !is_cased(character) || character.is_lowercase()),
        "isupper" => |text| text.chars().any(is_cased) && text.chars().all(|character| !is_cased(character) || character.is_uppercase()),
        "istitle" => is_title,
    }
}

/// And at least one.
fn all(text: &str, question: fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(question)
}

/// Whether every word begins with a capital and goes on without.
fn is_title(text: &str) -> bool {
    let mut is_within_word = false;
    let mut has_words = false;
    for character in text.chars() {
        if is_cased(character) {
            if character.is_lowercase() != is_within_word {
                return false;
            }
            has_words = true;
        }
        is_within_word = is_cased(character);
    }
    has_words
}
