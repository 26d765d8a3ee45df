//! Numbers in the notations that `%` and `str.format` share.

#![forbid(unsafe_code)]

use super::error::Error;
use super::run::Run;

/// More digits than any float has behind its point.
const MOST_DIGITS: usize = 1100;

/// How a value is laid out. What is missing was not asked for.
#[derive(Clone, Default)]
pub(super) struct Spec {
    pub(super) fill: Option<char>,
    /// One of `<`, `>`, `^` and `=`.
    pub(super) align: Option<char>,
    /// `+` or a space, before what is not negative.
    pub(super) sign: Option<char>,
    /// `#`.
    pub(super) alternate: bool,
    pub(super) width: usize,
    /// `,` or `_`, between thousands.
    pub(super) grouping: Option<char>,
    pub(super) precision: Option<usize>,
    /// The conversion's letter.
    pub(super) kind: Option<char>,
}

impl Spec {
    /// Pads `body`, before which `sign` stands.
    pub(super) fn lay_out(&self, run: &Run, sign: &str, body: &str, default_align: char) -> Result<String, Error> {
        let length = sign.chars().count() + body.chars().count();
        let missing = self.width.saturating_sub(length);
        run.bytes(body.len().saturating_add(missing.saturating_mul(4)))?;
        let fill = |count| self.fill.unwrap_or(' ').to_string().repeat(count);
        Ok(match self.align.unwrap_or(default_align) {
            '<' => format!("{sign}{body}{}", fill(missing)),
            '^' => format!("{}{sign}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{sign}{}{body}", fill(missing)),
            _ => format!("{}{sign}{body}", fill(missing)),
        })
    }

    fn sign(&self, is_negative: bool) -> String {
        if is_negative { "-".into() } else { self.sign.map(String::from).unwrap_or_default() }
    }

    /// Puts separators into the digits before the point, and zeros before them if those fill the width.
    fn group(&self, run: &Run, sign: &str, digits: &str, every: usize) -> Result<String, Error> {
        let Some(separator) = self.grouping else { return Ok(digits.to_owned()) };
        let whole = digits.len() - digits.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()).len();
        let (whole, rest) = digits.split_at(whole);
        let is_filled = self.fill == Some('0') && self.align.is_none_or(|align| align == '=');
        let width = if is_filled { self.width.saturating_sub(sign.len() + rest.len()) } else { 0 };
        run.bytes(width)?;
        // So many digits take the width, together with the separators between them, which begin no number.
        let digits = width - width / (every + 1);
        let is_short = digits + digits.saturating_sub(1) / every < width;
        let count = whole.len().max(digits + usize::from(is_short));
        let whole = format!("{whole:0>count$}");
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(every) {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        Ok(grouped + rest)
    }

    /// An integer by `b`, `o`, `x`, `X` or else in decimal digits.
    pub(super) fn integer(&self, run: &Run, value: i128, digits: usize) -> Result<String, Error> {
        let magnitude = value.unsigned_abs();
        let (body, prefix) = match self.kind {
            Some('b') => (format!("{magnitude:b}"), "0b"),
            Some('o') => (format!("{magnitude:o}"), "0o"),
            Some('x') => (format!("{magnitude:x}"), "0x"),
            Some('X') => (format!("{magnitude:X}"), "0X"),
            _ => (magnitude.to_string(), ""),
        };
        run.bytes(digits)?;
        if digits > usize::from(u16::MAX) {
            return Err(Error::operation("a number of more than 65535 digits"));
        }
        let sign = self.sign(value < 0) + if self.alternate { prefix } else { "" };
        let every = if prefix.is_empty() { 3 } else { 4 };
        let body = self.group(run, &sign, &format!("{body:0>digits$}"), every)?;
        self.lay_out(run, &sign, &body, '>')
    }

    /// A float by `e`, `f`, `g`, `%` or their capitals.
    pub(super) fn float(&self, run: &Run, value: f64) -> Result<String, Error> {
        let kind = self.kind.unwrap_or('g');
        let precision = self.precision.unwrap_or(6);
        if precision > MOST_DIGITS {
            return Err(Error::operation(format!("a precision of more than {MOST_DIGITS} digits")));
        }
        run.bytes(precision)?;
        let magnitude = value.abs();
        let mut body = if value.is_nan() {
            "nan".to_owned()
        } else if value.is_infinite() {
            "inf".to_owned()
        } else {
            match kind.to_ascii_lowercase() {
                'e' => scientific(magnitude, precision, self.alternate),
                'f' => fixed(magnitude, precision, self.alternate),
                '%' => fixed(magnitude * 100.0, precision, self.alternate),
                _ => general(magnitude, precision.max(1), self.alternate),
            }
        };
        if kind == '%' {
            body.push('%');
        }
        if kind.is_ascii_uppercase() {
            body.make_ascii_uppercase();
        }
        self.place(run, value, &body)
    }

    /// A float's digits, with its sign and in its place.
    pub(super) fn place(&self, run: &Run, value: f64, body: &str) -> Result<String, Error> {
        let sign = self.sign(value.is_sign_negative() && !value.is_nan());
        let body = self.group(run, &sign, body, 3)?;
        self.lay_out(run, &sign, &body, '>')
    }
}

fn fixed(value: f64, precision: usize, with_point: bool) -> String {
    let point = if with_point && precision == 0 { "." } else { "" };
    format!("{value:.precision$}{point}")
}

/// Python writes an exponent with a sign and at least two digits.
fn scientific(value: f64, precision: usize, with_point: bool) -> String {
    let (digits, exponent) = parts(value, precision);
    let point = if with_point && precision == 0 { "." } else { "" };
    format!("{digits}{point}e{}", exponent_text(exponent))
}

fn exponent_text(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

fn parts(value: f64, precision: usize) -> (String, i32) {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

/// So many significant digits, with an exponent where it would be long without.
fn general(value: f64, precision: usize, keeps_zeros: bool) -> String {
    let (digits, exponent) = parts(value, precision - 1);
    let is_fixed = exponent >= -4 && exponent < precision as i32;
    let text = match is_fixed {
        true => fixed(value, (precision as i32 - 1 - exponent) as usize, keeps_zeros),
        false => digits,
    };
    let text = match keeps_zeros || !text.contains('.') {
        true => text,
        false => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
    };
    if is_fixed { text } else { format!("{text}e{}", exponent_text(exponent)) }
}
