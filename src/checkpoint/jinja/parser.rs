//! Tokens → a template. How statements and expressions are parsed stands in files of their own.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::ast::{Body, Statement, StatementKind, Uses};
use super::error::Error;
use super::lexer;
use super::tokens::{Token, TokenKind};

/// Of statements and parentheses within one another.
const DEEPEST: usize = 60;

pub(super) struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    pub(super) is_in_loop: bool,
    /// What the macro in hand uses.
    pub(super) uses: Uses,
    /// Filters and tests that do not exist, so far. Under an `if` they are errors only when they are reached.
    pub(super) unknown: Vec<Error>,
}

/// Compiles a template.
pub(super) fn parse(source: &str) -> Result<Body, Error> {
    let mut parser = Parser {
        tokens: lexer::tokens(source)?,
        position: 0,
        depth: 0,
        is_in_loop: false,
        uses: Uses::default(),
        unknown: Vec::new(),
    };
    let body = parser.body(&[])?;
    match parser.unknown.into_iter().next() {
        Some(unknown) => Err(unknown),
        None => Ok(body),
    }
}

impl Parser {
    pub(super) fn peek(&self) -> &TokenKind {
        &self.tokens[self.position].kind
    }

    pub(super) fn peek_second(&self) -> &TokenKind {
        &self.tokens[(self.position + 1).min(self.tokens.len() - 1)].kind
    }

    pub(super) fn line(&self) -> usize {
        self.tokens[self.position].line
    }

    pub(super) fn next(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        kind
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), TokenKind::Name(found) if &**found == name)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol)
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let is_next = self.is_name(name);
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let is_next = self.is_symbol(symbol);
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn unexpected(&self, expected: &str) -> Error {
        Error::syntax(self.line(), format!("unexpected {}, expected {expected}", self.peek().describe()))
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), Error> {
        match self.take_symbol(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("'{symbol}'"))),
        }
    }

    pub(super) fn name(&mut self) -> Result<Rc<str>, Error> {
        match self.peek() {
            TokenKind::Name(name) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn end_of_tag(&mut self) -> Result<(), Error> {
        match self.peek() {
            TokenKind::BlockEnd => {
                self.next();
                Ok(())
            }
            _ => Err(self.unexpected("the end of the block's tag")),
        }
    }

    /// Parses what is one level deeper.
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Error::syntax(self.line(), format!("more than {DEEPEST} levels within one another")));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Statements up to a tag with one of the names `ends`, which is left for the caller with its `{%` taken; up to the
    /// template's end if there are none.
    pub(super) fn body(&mut self, ends: &[&str]) -> Result<Body, Error> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                TokenKind::Text(text) => StatementKind::Text(text),
                TokenKind::VariableBegin => {
                    let expression = self.tuple(true, &[])?;
                    if *self.peek() != TokenKind::VariableEnd {
                        return Err(self.unexpected("the end of the expression"));
                    }
                    self.next();
                    StatementKind::Print(expression)
                }
                TokenKind::BlockBegin => {
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.deeper(Self::statement)?
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    let ends = ends.join("' or '");
                    return Err(Error::syntax(line, format!("the template ends before '{ends}'")));
                }
            };
            body.push(Statement { line, kind });
        }
    }

    /// Parses what runs in a scope of its own. What is unknown there is an error, under whatever `if` it stands.
    pub(super) fn scoped<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let outside = std::mem::take(&mut self.unknown);
        let parsed = parse(self)?;
        match std::mem::replace(&mut self.unknown, outside).into_iter().next() {
            Some(unknown) => Err(unknown),
            None => Ok(parsed),
        }
    }

    pub(super) fn outside_loops<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let was_in_loop = std::mem::replace(&mut self.is_in_loop, false);
        let parsed = parse(self)?;
        self.is_in_loop = was_in_loop;
        Ok(parsed)
    }
}
