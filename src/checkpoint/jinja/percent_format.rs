//! `"%s and %d" % (1, 2)`, as Python formats.

#![forbid(unsafe_code)]

use std::iter::Peekable;
use std::str::Chars;

use super::arithmetic::too_large;
use super::error::Error;
use super::html;
use super::number_format::Spec;
use super::repr::{ascii, repr, to_text};
use super::run::Run;
use super::value::{Str, Value};

pub(super) fn format(run: &Run, template: &Str, values: &Value) -> Result<Value, Error> {
    let one = std::slice::from_ref(values);
    let mut formatter = Formatter {
        run,
        is_safe: template.is_safe,
        rest: template.text.chars().peekable(),
        given: values.as_tuple().unwrap_or(one),
        mapping: values,
        is_left_over: !matches!(values, Value::Dict(_) | Value::List(_) | Value::Range(_)),
        text: String::new(),
    };
    formatter.run()?;
    Ok(Value::Str(Str { text: formatter.text.into(), is_safe: template.is_safe }))
}

struct Formatter<'a> {
    run: &'a Run,
    is_safe: bool,
    rest: Peekable<Chars<'a>>,
    given: &'a [Value],
    /// The right side as a whole, for `%(name)s`.
    mapping: &'a Value,
    /// Whether it is an error to use no value of the right side.
    is_left_over: bool,
    text: String,
}

impl<'a> Formatter<'a> {
    fn run(&mut self) -> Result<(), Error> {
        while let Some(character) = self.rest.next() {
            self.run.bytes(1)?;
            match character {
                '%' => self.conversion()?,
                _ => self.text.push(character),
            }
        }
        match self.is_left_over && !self.given.is_empty() {
            true => Err(Error::operation("not all arguments converted during string formatting")),
            false => Ok(()),
        }
    }

    fn next_value(&mut self) -> Result<&'a Value, Error> {
        let (first, rest) =
            self.given.split_first().ok_or_else(|| Error::operation("not enough arguments for format string"))?;
        self.given = rest;
        Ok(first)
    }

    fn named_value(&mut self) -> Result<&'a Value, Error> {
        let mut name = String::new();
        let mut depth = 1;
        loop {
            let character = self.rest.next().ok_or_else(|| Error::operation("incomplete format key"))?;
            depth += i32::from(character == '(') - i32::from(character == ')');
            if depth == 0 {
                break;
            }
            name.push(character);
        }
        let Value::Dict(dict) = self.mapping else { return Err(Error::operation("format requires a mapping")) };
        // Whatever is named, the right side counts as used.
        self.given = &[];
        dict.get_str(&name).ok_or_else(|| Error::operation(format!("format: there is no '{name}'")))
    }

    /// A width or precision: digits, or `*` for the next value.
    fn number(&mut self) -> Result<Option<i128>, Error> {
        if self.rest.next_if_eq(&'*').is_some() {
            let value = self.next_value()?;
            return value.as_int().map(Some).ok_or_else(|| Error::operation("* wants int"));
        }
        let mut number = None;
        while let Some(digit) = self.rest.peek().and_then(|digit| digit.to_digit(10)) {
            self.rest.next();
            let so_far: i128 = number.unwrap_or(0);
            number = Some(so_far.saturating_mul(10).saturating_add(digit.into()));
        }
        Ok(number)
    }

    fn conversion(&mut self) -> Result<(), Error> {
        if self.rest.next_if_eq(&'%').is_some() {
            self.text.push('%');
            return Ok(());
        }
        let mut named = None;
        if self.rest.next_if_eq(&'(').is_some() {
            named = Some(self.named_value()?);
        }
        let mut spec = Spec::default();
        let mut with_zeros = false;
        while let Some(flag) = self.rest.next_if(|flag| "-+ 0#".contains(*flag)) {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.sign = Some('+'),
                ' ' => spec.sign = spec.sign.or(Some(' ')),
                '0' => with_zeros = true,
                _ => spec.alternate = true,
            }
        }
        if let Some(width) = self.number()? {
            if width < 0 {
                spec.align = Some('<');
            }
            spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        }
        if self.rest.next_if_eq(&'.').is_some() {
            spec.precision = Some(usize::try_from(self.number()?.unwrap_or(0).max(0)).unwrap_or(usize::MAX));
        }
        self.rest.next_if(|size| "hlL".contains(*size));
        let kind = self.rest.next().ok_or_else(|| Error::operation("incomplete format"))?;
        let value = named.map_or_else(|| self.next_value(), Ok)?;
        if with_zeros && spec.align.is_none() && !"srac".contains(kind) {
            spec.fill = Some('0');
            spec.align = Some('=');
        }
        let formatted = self.formatted(kind, spec, value)?;
        self.text.push_str(&formatted);
        Ok(())
    }

    fn formatted(&self, kind: char, mut spec: Spec, value: &Value) -> Result<String, Error> {
        let run = self.run;
        let wants =
            |what: &str| Error::operation(format!("%{kind} format: {what} is required, not {}", value.type_name()));
        let text = match kind {
            's' => to_text(run, value)?.to_string(),
            'r' => repr(run, value)?,
            'a' => ascii(&repr(run, value)?),
            'c' => match value {
                Value::Str(text) if text.text.chars().count() == 1 => text.text.to_string(),
                _ => {
                    let code = value.as_int().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
                    code.ok_or_else(|| wants("an int or a single character"))?.to_string()
                }
            },
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
                let integer = match value {
                    Value::Float(float) if "diu".contains(kind) => {
                        let whole = float.trunc();
                        match whole.abs() < i128::MAX as f64 {
                            true => whole as i128,
                            false => return Err(too_large()),
                        }
                    }
                    _ => value.as_int().ok_or_else(|| wants("an integer"))?,
                };
                spec.kind = Some(kind);
                return spec.integer(run, integer, spec.precision.unwrap_or(0));
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                spec.kind = Some(kind);
                return spec.float(run, value.as_float().ok_or_else(|| wants("a real number"))?);
            }
            _ => return Err(Error::operation(format!("unsupported format character '{kind}'"))),
        };
        let text = match spec.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        let is_escaped = matches!(value, Value::Str(text) if text.is_safe);
        let text = if self.is_safe && !is_escaped { html::escape(run, &text)?.to_string() } else { text };
        spec.lay_out(run, "", &text, '>')
    }
}
