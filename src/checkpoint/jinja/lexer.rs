//! Template text → tokens: where tags begin and end, and what of the white space around them is text. As Jinja does it
//! with `trim_blocks` (a line feed after a block's tag belongs to the tag) and `lstrip_blocks` (so does the white space
//! before it, on a line of its own).

#![forbid(unsafe_code)]

use super::characters::is_space;
use super::error::Error;
use super::tokens::{Cursor, Token, TokenKind};

pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Error> {
    // Jinja sees every line end as one line feed, and not the last one.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { cursor: Cursor { rest: source, line: 1 }, starts_line: true, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    cursor: Cursor<'a>,
    /// Whether the next text begins where a line does.
    starts_line: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Comment,
    Block,
    Variable,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), Error> {
        while let Some((length, tag)) = first_tag(self.cursor.rest) {
            let text = &self.cursor.rest[..length];
            let sign = self.cursor.rest[length + 2..].chars().next().filter(|sign| matches!(sign, '-' | '+'));
            self.text(strip(text, sign, tag != Tag::Variable, self.starts_line));
            self.cursor.advance(length + 2 + usize::from(sign.is_some()));
            match tag {
                Tag::Comment => self.comment()?,
                Tag::Block if self.raw_begin() => self.raw()?,
                Tag::Block => self.tag(TokenKind::BlockBegin, TokenKind::BlockEnd, "%}")?,
                Tag::Variable => self.tag(TokenKind::VariableBegin, TokenKind::VariableEnd, "}}")?,
            }
        }
        let rest = self.cursor.rest;
        self.text(rest);
        self.cursor.advance(rest.len());
        self.push(TokenKind::End);
        Ok(())
    }

    fn push(&mut self, kind: TokenKind) {
        self.tokens.push(Token { line: self.cursor.line, kind });
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(TokenKind::Text(text.into()));
        }
    }

    fn comment(&mut self) -> Result<(), Error> {
        let line = self.cursor.line;
        let length = self.cursor.rest.find("#}").ok_or_else(|| Error::syntax(line, "a comment has no end"))?;
        let sign = self.cursor.rest[..length].chars().next_back().filter(|sign| matches!(sign, '-' | '+'));
        self.cursor.advance(length + 2);
        self.after_tag(sign, true);
        Ok(())
    }

    /// What a tag's end takes of the white space behind it.
    fn after_tag(&mut self, sign: Option<char>, is_block: bool) {
        let rest = self.cursor.rest;
        let taken = match sign {
            Some('-') => rest.len() - rest.trim_start_matches(is_space).len(),
            None if is_block => usize::from(rest.starts_with('\n')),
            _ => 0,
        };
        self.starts_line = rest[..taken].ends_with('\n');
        self.cursor.advance(taken);
    }

    /// Takes the rest of a `{% raw %}`, if that is what begins here.
    fn raw_begin(&mut self) -> bool {
        let Some(rest) = self.cursor.rest.trim_start_matches(is_space).strip_prefix("raw") else { return false };
        let rest = rest.trim_start_matches(is_space);
        let (sign, rest) = rest.strip_prefix('-').map_or((None, rest), |rest| (Some('-'), rest));
        let Some(rest) = rest.strip_prefix("%}") else { return false };
        self.cursor.advance(self.cursor.rest.len() - rest.len());
        // Unlike other blocks' ends, it leaves a line feed.
        self.after_tag(sign, false);
        true
    }

    fn raw(&mut self) -> Result<(), Error> {
        let source = self.cursor.rest;
        let mut from = 0;
        while let Some(length) = source[from..].find("{%").map(|found| from + found) {
            from = length + 2;
            let tag = &source[from..];
            let sign = tag.chars().next().filter(|sign| matches!(sign, '-' | '+'));
            let tag = tag[usize::from(sign.is_some())..].trim_start_matches(is_space);
            let Some(tag) = tag.strip_prefix("endraw") else { continue };
            let tag = tag.trim_start_matches(is_space);
            let end_sign = tag.chars().next().filter(|sign| matches!(sign, '-' | '+'));
            let Some(tag) = tag[usize::from(end_sign.is_some())..].strip_prefix("%}") else { continue };
            let text = &source[..length];
            self.text(strip(text, sign, true, self.starts_line));
            self.cursor.advance(source.len() - tag.len());
            self.after_tag(end_sign, true);
            return Ok(());
        }
        Err(Error::syntax(self.cursor.line, "a raw block has no end"))
    }

    fn tag(&mut self, begin: TokenKind, end: TokenKind, closing: &str) -> Result<(), Error> {
        self.push(begin);
        let mut open = Vec::new();
        loop {
            self.cursor.skip_space();
            let rest = self.cursor.rest;
            // A dictionary's braces may look like a tag's end.
            if open.is_empty() {
                let sign = rest.chars().next().filter(|&sign| sign == '-' || sign == '+' && closing == "%}");
                let sign = sign.filter(|_| rest[1..].starts_with(closing));
                if sign.is_some() || rest.starts_with(closing) {
                    self.push(end);
                    self.cursor.advance(closing.len() + usize::from(sign.is_some()));
                    self.after_tag(sign, closing == "%}");
                    return Ok(());
                }
            }
            let line = self.cursor.line;
            let kind = self.cursor.token()?;
            match kind {
                TokenKind::Symbol(symbol @ ("(" | "[" | "{")) => open.push(symbol),
                TokenKind::Symbol(symbol @ (")" | "]" | "}")) => {
                    let opened = open.pop();
                    if !matches!((opened, symbol), (Some("("), ")") | (Some("["), "]") | (Some("{"), "}")) {
                        return Err(Error::syntax(line, format!("unexpected '{symbol}'")));
                    }
                }
                _ => {}
            }
            self.tokens.push(Token { line, kind });
        }
    }
}

/// How much text stands before the first tag, and which it is.
fn first_tag(source: &str) -> Option<(usize, Tag)> {
    let mut from = 0;
    loop {
        let found = from + source[from..].find('{')?;
        match source.as_bytes().get(found + 1) {
            Some(b'#') => return Some((found, Tag::Comment)),
            Some(b'%') => return Some((found, Tag::Block)),
            Some(b'{') => return Some((found, Tag::Variable)),
            _ => from = found + 1,
        }
    }
}

/// The text before a tag, without the white space that belongs to the tag.
fn strip(text: &str, sign: Option<char>, is_block: bool, starts_line: bool) -> &str {
    if sign == Some('-') {
        return text.trim_end_matches(is_space);
    }
    if sign.is_none() && is_block {
        let line = text.rfind('\n').map(|end| end + 1).or(starts_line.then_some(0));
        if let Some(line) = line.filter(|&line| text[line..].chars().all(is_space)) {
            return &text[..line];
        }
    }
    text
}
