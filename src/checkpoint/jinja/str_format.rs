//! `"{} and {name:>5}".format(1, name=2)`, as Python formats.

#![forbid(unsafe_code)]

use super::access::{attribute, item};
use super::dict::Dict;
use super::error::Error;
use super::number_format::Spec;
use super::repr::{self, repr, to_text};
use super::run::Run;
use super::value::Value;

pub(super) fn format(run: &Run, template: &str, given: &[Value], named: &Dict) -> Result<String, Error> {
    Formatter { run, given, named, automatic: None }.text(template, 1)
}

struct Formatter<'a> {
    run: &'a Run,
    given: &'a [Value],
    named: &'a Dict,
    /// How many fields without a number there were; `Some(None)` if fields have numbers.
    automatic: Option<Option<usize>>,
}

impl Formatter<'_> {
    /// Fields may stand within fields' formats, but not deeper.
    fn text(&mut self, template: &str, levels: usize) -> Result<String, Error> {
        let mut text = String::new();
        let mut rest = template;
        while let Some(place) = rest.find(['{', '}']) {
            text.push_str(&rest[..place]);
            self.run.bytes(place)?;
            let brace = &rest[place..=place];
            rest = &rest[place + 1..];
            if let Some(following) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = following;
            } else if brace == "}" {
                return Err(Error::operation("Single '}' encountered in format string"));
            } else {
                let end = field_end(rest)?;
                text.push_str(&self.field(&rest[..end], levels)?);
                rest = &rest[end + 1..];
            }
        }
        self.run.bytes(rest.len())?;
        text.push_str(rest);
        Ok(text)
    }

    /// `name!conversion:format`.
    fn field(&mut self, field: &str, levels: usize) -> Result<String, Error> {
        // Neither separates anything in an index.
        let mut is_in_index = false;
        let name = field.find(|character| {
            is_in_index = character == '[' || is_in_index && character != ']';
            !is_in_index && (character == '!' || character == ':')
        });
        let (name, rest) = field.split_at(name.unwrap_or(field.len()));
        let value = self.value(name)?;
        let (conversion, spec) = match rest.strip_prefix('!') {
            Some(rest) => {
                let (conversion, spec) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                (Some(conversion), spec)
            }
            None => (None, rest),
        };
        let value = match conversion {
            None => value,
            Some("s") => Value::str(to_text(self.run, &value)?),
            Some("r") => Value::str(repr(self.run, &value)?),
            Some("a") => Value::str(repr::ascii(&repr(self.run, &value)?)),
            Some(conversion) => {
                return Err(Error::operation(format!("unknown conversion '{conversion}' in format string")));
            }
        };
        let spec = spec.strip_prefix(':').unwrap_or(spec);
        let spec = match (spec.contains(['{', '}']), levels) {
            (false, _) => spec.to_owned(),
            (true, 0) => return Err(Error::operation("fields of a format are too deep within one another")),
            (true, _) => self.text(spec, levels - 1)?,
        };
        formatted(self.run, &value, &spec)
    }

    fn value(&mut self, name: &str) -> Result<Value, Error> {
        let (first, mut path) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
        let mixed = || Error::operation("fields with and without numbers cannot be mixed");
        let position = if first.is_empty() {
            match self.automatic.get_or_insert(Some(0)) {
                None => return Err(mixed()),
                Some(count) => {
                    *count += 1;
                    Some(*count - 1)
                }
            }
        } else if first.bytes().all(|digit| digit.is_ascii_digit()) {
            if self.automatic.get_or_insert(None).is_some() {
                return Err(mixed());
            }
            first.parse().ok()
        } else {
            None
        };
        let value = match position {
            Some(position) => self.given.get(position),
            None => self.named.get_str(first),
        };
        let missing = || Error::operation(format!("there is no argument for the field '{{{name}}}'"));
        let mut value = value.ok_or_else(missing)?.clone();
        while !path.is_empty() {
            if let Some(rest) = path.strip_prefix('.') {
                let (attribute_name, rest) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                value = attribute(self.run, &value, attribute_name)?;
                path = rest;
            } else {
                let (key, rest) = path
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once(']'))
                    .ok_or_else(|| Error::operation("expected '}' or ']' in format string"))?;
                let key = key.parse().map_or_else(|_| Value::str(key), Value::Int);
                value = item(self.run, &value, &key)?;
                path = rest;
            }
        }
        Ok(value)
    }
}

/// Where the field that begins here ends.
fn field_end(rest: &str) -> Result<usize, Error> {
    let mut depth = 0;
    for (place, character) in rest.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Ok(place),
            '}' => depth -= 1,
            _ => {}
        }
    }
    Err(Error::operation("expected '}' before end of string"))
}

fn formatted(run: &Run, value: &Value, spec: &str) -> Result<String, Error> {
    if spec.is_empty() {
        return Ok(to_text(run, value)?.to_string());
    }
    let mut spec = parse(spec)?;
    let unknown = |kind: char| {
        Err(Error::operation(format!("unknown format code '{kind}' for object of type '{}'", value.type_name())))
    };
    match value {
        Value::Str(text) => match spec.kind.unwrap_or('s') {
            's' if spec.sign.is_none() && spec.align != Some('=') && !spec.alternate && spec.grouping.is_none() => {
                let text: String = text.text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
                spec.lay_out(run, "", &text, '<')
            }
            kind => unknown(kind),
        },
        Value::Int(_) | Value::Bool(_) => {
            let integer = value.as_int().unwrap_or(0);
            match spec.kind.unwrap_or('d') {
                'b' | 'o' | 'x' | 'X' | 'd' | 'n' if spec.precision.is_none() => spec.integer(run, integer, 0),
                'c' => match u32::try_from(integer).ok().and_then(char::from_u32) {
                    Some(character) => spec.lay_out(run, "", &character.to_string(), '<'),
                    None => Err(Error::operation("%c arg not in range(0x110000)")),
                },
                'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' => spec.float(run, integer as f64),
                kind => unknown(kind),
            }
        }
        Value::Float(float) => match spec.kind {
            // Like `g`, but never without a point, and by default with as many digits as it takes.
            None => {
                let magnitude = float.abs();
                let body = match spec.precision {
                    None => repr::float(magnitude),
                    Some(_) => with_point(&Spec { width: 0, sign: None, ..spec.clone() }.float(run, magnitude)?),
                };
                spec.place(run, *float, &body)
            }
            Some('n') => {
                spec.kind = Some('g');
                spec.float(run, *float)
            }
            Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => spec.float(run, *float),
            Some(kind) => unknown(kind),
        },
        _ => Err(Error::operation(format!("unsupported format string passed to {}.__format__", value.type_name()))),
    }
}

fn with_point(digits: &str) -> String {
    match digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => format!("{digits}.0"),
        false => digits.to_owned(),
    }
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][kind]`.
fn parse(text: &str) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    let mut rest: &[char] = &text.chars().collect::<Vec<_>>();
    let is_align = |character: &char| "<>=^".contains(*character);
    if let [fill, align, following @ ..] = rest
        && is_align(align)
    {
        (spec.fill, spec.align, rest) = (Some(*fill), Some(*align), following);
    } else if let [align, following @ ..] = rest
        && is_align(align)
    {
        (spec.align, rest) = (Some(*align), following);
    }
    if let [sign @ ('+' | '-' | ' '), following @ ..] = rest {
        (spec.sign, rest) = (Some(*sign).filter(|sign| *sign != '-'), following);
    }
    if let ['#', following @ ..] = rest {
        (spec.alternate, rest) = (true, following);
    }
    if let ['0', following @ ..] = rest {
        spec.fill = spec.fill.or(Some('0'));
        spec.align = spec.align.or(Some('='));
        rest = following;
    }
    let number = |rest: &mut &[char]| {
        let mut number = None;
        while let [digit @ '0'..='9', following @ ..] = rest {
            let so_far: usize = number.unwrap_or(0);
            number = Some(so_far.saturating_mul(10).saturating_add(digit.to_digit(10).unwrap_or(0) as usize));
            *rest = following;
        }
        number
    };
    spec.width = number(&mut rest).unwrap_or(0);
    if let [grouping @ (',' | '_'), following @ ..] = rest {
        (spec.grouping, rest) = (Some(*grouping), following);
    }
    if let ['.', following @ ..] = rest {
        rest = following;
        spec.precision = number(&mut rest);
        if spec.precision.is_none() {
            return Err(Error::operation("format specifier missing precision"));
        }
    }
    match rest {
        [] => Ok(spec),
        [kind] => {
            spec.kind = Some(*kind);
            Ok(spec)
        }
        _ => Err(Error::operation(format!("invalid format specifier '{text}'"))),
    }
}
