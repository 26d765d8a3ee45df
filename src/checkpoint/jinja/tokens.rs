//! What stands inside a tag: names, numbers, strings, symbols.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::characters::is_space;
use super::error::Error;

#[derive(Clone)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, PartialEq)]
pub(super) enum TokenKind {
    Text(Rc<str>),
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name(Rc<str>),
    String(Rc<str>),
    Int(i128),
    Float(f64),
    Symbol(&'static str),
    End,
}

/// Longer ones first.
const SYMBOLS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",",
];

const LONGEST_NAME: usize = 1000;

impl TokenKind {
    /// In the words of a syntax error.
    pub(super) fn describe(&self) -> String {
        match self {
            TokenKind::Text(_) => "text".into(),
            TokenKind::BlockBegin => "'{%'".into(),
            TokenKind::BlockEnd => "the end of the block's tag".into(),
            TokenKind::VariableBegin => "'{{'".into(),
            TokenKind::VariableEnd => "the end of the expression".into(),
            TokenKind::Name(name) => format!("'{name}'"),
            TokenKind::String(_) => "a string".into(),
            TokenKind::Int(_) | TokenKind::Float(_) => "a number".into(),
            TokenKind::Symbol(symbol) => format!("'{symbol}'"),
            TokenKind::End => "the end of the template".into(),
        }
    }
}

pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
    pub(super) line: usize,
}

impl Cursor<'_> {
    pub(super) fn advance(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count();
        self.rest = &self.rest[bytes..];
    }

    pub(super) fn skip_space(&mut self) {
        self.advance(self.rest.len() - self.rest.trim_start_matches(is_space).len());
    }

    /// The next token. Nothing but white space was before it.
    pub(super) fn token(&mut self) -> Result<TokenKind, Error> {
        let first = self.rest.chars().next().ok_or_else(|| Error::syntax(self.line, "a tag has no end"))?;
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '"' || first == '\'' {
            return self.string(first);
        }
        let name = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        if name > 0 && (first.is_alphabetic() || first == '_') {
            let name = &self.rest[..name];
            if name.len() > LONGEST_NAME {
                return Err(Error::syntax(self.line, format!("a name of more than {LONGEST_NAME} bytes")));
            }
            let kind = TokenKind::Name(name.into());
            self.advance(name.len());
            return Ok(kind);
        }
        match SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) {
            Some(symbol) => {
                self.advance(symbol.len());
                Ok(TokenKind::Symbol(symbol))
            }
            None => Err(Error::syntax(self.line, format!("unexpected character {first:?}"))),
        }
    }

    fn number(&mut self) -> Result<TokenKind, Error> {
        let bytes = self.rest.as_bytes();
        let radix = match bytes.get(1).map(u8::to_ascii_lowercase) {
            Some(b'x') => 16,
            Some(b'o') => 8,
            Some(b'b') => 2,
            _ => 10,
        };
        if bytes[0] == b'0' && radix != 10 {
            let length = 2 + digits(&self.rest[2..], radix, true);
            if length > 2 {
                let number = i128::from_str_radix(&self.rest[2..length].replace('_', ""), radix);
                self.advance(length);
                return number.map(TokenKind::Int).map_err(|_| self.too_large());
            }
        }
        let whole = digits(self.rest, 10, false);
        let mut length = whole;
        let fraction = self.rest[length..].strip_prefix('.').map_or(0, |rest| digits(rest, 10, false));
        if fraction > 0 {
            length += 1 + fraction;
        }
        let exponent = self.rest[length..].strip_prefix(['e', 'E']).map_or(0, |rest| {
            let sign = usize::from(rest.starts_with(['+', '-']));
            match digits(&rest[sign..], 10, false) {
                0 => 0,
                digits => 1 + sign + digits,
            }
        });
        length += exponent;
        let text = self.rest[..length].replace('_', "");
        if length > whole {
            self.advance(length);
            return text.parse().map(TokenKind::Float).map_err(|_| self.too_large());
        }
        if text.len() > 1 && text.starts_with('0') && text.bytes().any(|digit| digit != b'0') {
            return Err(Error::syntax(self.line, format!("unexpected number '{text}'")));
        }
        self.advance(length);
        text.parse().map(TokenKind::Int).map_err(|_| self.too_large())
    }

    fn too_large(&self) -> Error {
        Error::syntax(self.line, "a number of more than 128 bits")
    }

    fn string(&mut self, quote: char) -> Result<TokenKind, Error> {
        let mut is_escaped = false;
        let end = self.rest[1..].find(|character| {
            let is_end = character == quote && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or_else(|| Error::syntax(self.line, "a string has no end"))?;
        let text = unescape(&self.rest[1..=end]).map_err(|message| Error::syntax(self.line, message))?;
        self.advance(end + 2);
        Ok(TokenKind::String(text.into()))
    }
}

/// How many bytes digits take, between any two of which one underscore may stand, or before the first.
fn digits(text: &str, radix: u32, may_begin_with_underscore: bool) -> usize {
    let mut length = 0;
    let mut may_underscore = may_begin_with_underscore;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_digit(radix) {
            may_underscore = true;
        } else if character != '_'
            || !may_underscore
            || !characters.peek().is_some_and(|following| following.is_digit(radix))
        {
            break;
        } else {
            may_underscore = false;
        }
        length += 1;
    }
    length
}

/// A string literal's text, by Python's escapes.
fn unescape(literal: &str) -> Result<String, String> {
    let mut text = String::with_capacity(literal.len());
    let mut characters = literal.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let escape = characters.next().ok_or("a string ends in a backslash")?;
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            'x' | 'u' | 'U' => {
                let count = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let digits: String = characters.by_ref().take(count).collect();
                let is_hex = digits.len() == count && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_hex).and_then(char::from_u32);
                text.push(code.ok_or_else(|| format!("\\{escape}{digits} is no character"))?);
            }
            '0'..='7' => {
                let rest = characters.as_str();
                let more = rest.bytes().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let digits = format!("{escape}{}", &rest[..more]);
                characters = rest[more..].chars();
                text.extend(u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32));
            }
            'N' => return Err("characters by name (\\N{…}) are not supported".into()),
            _ => text.extend(['\\', escape]),
        }
    }
    Ok(text)
}
