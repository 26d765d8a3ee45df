//! What transformers adds to Jinja for chat templates (`tojson` that escapes nothing for HTML, `raise_exception`,
//! `strftime_now`), and tests that answer as Python does.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::python_json::{self, Style};

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
}

/// Unlike minijinja's own: strings are, `none` is not.
fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Iterable) || is_sequence(value)
}

/// Jinja takes for a sequence whatever has a length and items, which includes strings, mappings and the undefined.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `json.dumps`, with its keyword arguments.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent = match options.get::<Option<Value>>("indent")? {
        None => None,
        Some(indent) => Some(match indent.as_usize() {
            Some(width) if width <= 64 => " ".repeat(width),
            Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: indent of more than 64 spaces")),
            None => indent.as_str().unwrap_or_default().to_owned(),
        }),
    };
    let default_item = if indent.is_some() { "," } else { ", " };
    let (item, key) = match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
        None => (default_item.to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two strings")),
    };
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    options.assert_all_used()?;

    let style = Style { indent, item, key };
    let text = if sort_keys {
        let sorted = serde_json::to_value(value).map(|mut value| {
            value.sort_all_objects();
            value
        });
        sorted.and_then(|value| python_json::dumps(&value, style))
    } else {
        python_json::dumps(value, style)
    };
    let text = text.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(if ensure_ascii { escape_non_ascii(&text) } else { text })
}

/// Everything beyond ASCII can only stand inside JSON strings, where `\uXXXX` means the same.
fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// The time by a format, in UTC: the zone of the machine is not known without a time zone database.
fn strftime_now(format: &str) -> Result<String, Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    strftime(format, seconds)
}

/// `format` at `seconds` since 1970.
fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let (year, month, day) = date(days);
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or(0)];
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let written = match characters.next() {
            Some('Y') => write!(text, "{year}"),
            Some('y') => write!(text, "{:02}", year % 100),
            Some('m') => write!(text, "{month:02}"),
            Some('d') => write!(text, "{day:02}"),
            Some('B') => write!(text, "{month_name}"),
            Some('b' | 'h') => write!(text, "{}", &month_name[..3]),
            Some('A') => write!(text, "{weekday}"),
            Some('a') => write!(text, "{}", &weekday[..3]),
            Some('H') => write!(text, "{hour:02}"),
            Some('I') => write!(text, "{:02}", (hour + 11) % 12 + 1),
            Some('p') => write!(text, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('M') => write!(text, "{minute:02}"),
            Some('S') => write!(text, "{second:02}"),
            Some('%') => write!(text, "%"),
            other => {
                let directive = other.map(String::from).unwrap_or_default();
                let message = format!("strftime_now: %{directive} is not supported");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
        written?;
    }
    Ok(text)
}

/// The Gregorian year, month from 1 and day from 1 of a day since 1970. Years are counted from March, so that the leap
/// day is a year's last, and from a year divisible by 400.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python's `datetime.strftime` writes them.
    const TIMES: [(u64, &str); 8] = [
        (0, "1970-01-01 January Jan Thursday Thu 00:00:00 12AM 70 %"),
        (45_296, "1970-01-01 January Jan Thursday Thu 12:34:56 12PM 70 %"),
        (951_782_399, "2000-02-28 February Feb Monday Mon 23:59:59 11PM 00 %"),
        (951_825_599, "2000-02-29 February Feb Tuesday Tue 11:59:59 11AM 00 %"),
        (1_709_210_096, "2024-02-29 February Feb Thursday Thu 12:34:56 12PM 24 %"),
        (4_107_542_400, "2100-03-01 March Mar Monday Mon 00:00:00 12AM 00 %"),
        (1_767_225_599, "2025-12-31 December Dec Wednesday Wed 23:59:59 11PM 25 %"),
        (13_574_563_199, "2400-02-28 February Feb Monday Mon 23:59:59 11PM 00 %"),
    ];

    #[test]
    fn times_are_written_as_python_writes_them() {
        for (seconds, expected) in TIMES {
            let written = strftime("%Y-%m-%d %B %b %A %a %H:%M:%S %I%p %y %%", seconds);
            assert_eq!(written.expect("known directives"), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), (year, month, day));
            let is_leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
            let last = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
