//! Tokens → statements.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::ast::{Body, Expression, ExpressionKind, For, Macro, Statement, StatementKind, Uses};
use super::error::Error;
use super::lexer;
use super::tokens::{Token, TokenKind};

/// Of statements and parentheses within one another.
const DEEPEST: usize = 60;

pub(super) struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    is_in_loop: bool,
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

    fn end_of_tag(&mut self) -> Result<(), Error> {
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
    fn body(&mut self, ends: &[&str]) -> Result<Body, Error> {
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

    /// The rest of a block's first tag, its body, and its last tag.
    fn block(&mut self, end: &str) -> Result<Body, Error> {
        self.end_of_tag()?;
        let body = self.body(&[end])?;
        self.next();
        self.end_of_tag()?;
        Ok(body)
    }

    /// Parses what runs in a scope of its own. What is unknown there is an error, under whatever `if` it stands.
    fn scoped<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let outside = std::mem::take(&mut self.unknown);
        let parsed = parse(self)?;
        match std::mem::replace(&mut self.unknown, outside).into_iter().next() {
            Some(unknown) => Err(unknown),
            None => Ok(parsed),
        }
    }

    fn statement(&mut self) -> Result<StatementKind, Error> {
        let line = self.line();
        let name = self.name()?;
        match &*name {
            "if" => self.condition(),
            "for" => self.scoped(Self::for_loop),
            "set" => self.set(),
            "macro" => self.scoped(Self::macro_definition),
            "call" => self.scoped(Self::call_block),
            "filter" => self.scoped(|parser| {
                let filters = parser.filters(true)?;
                let body = parser.outside_loops(|parser| parser.block("endfilter"))?;
                Ok(StatementKind::FilterBlock(filters, body))
            }),
            "with" => self.scoped(Self::with),
            "generation" => self.scoped(|parser| {
                let body = parser.outside_loops(|parser| parser.block("endgeneration"))?;
                Ok(StatementKind::Generation(body))
            }),
            "block" => self.scoped(Self::named_block),
            "autoescape" => {
                let expression = self.expression()?;
                Ok(StatementKind::Autoescape(expression, self.block("endautoescape")?))
            }
            "break" | "continue" => {
                self.end_of_tag()?;
                match (self.is_in_loop, &*name) {
                    (false, _) => Err(Error::syntax(line, format!("'{name}' outside of a loop"))),
                    (true, "break") => Ok(StatementKind::Break),
                    (true, _) => Ok(StatementKind::Continue),
                }
            }
            "include" | "import" | "from" | "extends" => {
                while *self.peek() != TokenKind::BlockEnd {
                    if self.next() == TokenKind::End {
                        return Err(self.unexpected("the end of the block's tag"));
                    }
                }
                self.end_of_tag()?;
                Ok(StatementKind::OtherTemplate)
            }
            _ => Err(Error::syntax(line, format!("unknown statement '{name}'"))),
        }
    }

    fn condition(&mut self) -> Result<StatementKind, Error> {
        let known = self.unknown.len();
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let condition = self.tuple(false, &[])?;
            self.end_of_tag()?;
            branches.push((condition, self.body(&["elif", "else", "endif"])?));
            if self.take_name("elif") {
                continue;
            }
            if self.take_name("else") {
                self.end_of_tag()?;
                otherwise = self.body(&["endif"])?;
            }
            self.next();
            self.end_of_tag()?;
            self.unknown.truncate(known);
            return Ok(StatementKind::If(branches, otherwise));
        }
    }

    fn for_loop(&mut self) -> Result<StatementKind, Error> {
        let target = self.target(false, &["in"])?;
        if !self.take_name("in") {
            return Err(self.unexpected("'in'"));
        }
        let items = self.tuple(false, &["recursive"])?;
        let condition = if self.take_name("if") { Some(self.expression()?) } else { None };
        let is_recursive = self.take_name("recursive");
        self.end_of_tag()?;
        let was_in_loop = std::mem::replace(&mut self.is_in_loop, true);
        let body = self.body(&["endfor", "else"])?;
        self.is_in_loop = was_in_loop;
        let mut otherwise = Vec::new();
        if self.take_name("else") {
            self.end_of_tag()?;
            otherwise = self.body(&["endfor"])?;
        }
        self.next();
        self.end_of_tag()?;
        Ok(StatementKind::For(Rc::new(For { target, items, condition, is_recursive, body, otherwise })))
    }

    fn set(&mut self) -> Result<StatementKind, Error> {
        let target = self.target(true, &[])?;
        if self.take_symbol("=") {
            let value = self.tuple(true, &[])?;
            self.end_of_tag()?;
            return Ok(StatementKind::Set(target, value));
        }
        self.scoped(|parser| {
            let filters = parser.filters(false)?;
            let body = parser.outside_loops(|parser| parser.block("endset"))?;
            Ok(StatementKind::SetBlock(target, filters, body))
        })
    }

    fn with(&mut self) -> Result<StatementKind, Error> {
        let mut bindings = Vec::new();
        while *self.peek() != TokenKind::BlockEnd {
            if !bindings.is_empty() {
                self.expect_symbol(",")?;
            }
            let target = self.single_target(false)?;
            self.expect_symbol("=")?;
            bindings.push((target, self.expression()?));
        }
        Ok(StatementKind::With(bindings, self.block("endwith")?))
    }

    fn named_block(&mut self) -> Result<StatementKind, Error> {
        self.name()?;
        let is_scoped = self.take_name("scoped");
        self.take_name("required");
        self.end_of_tag()?;
        let body = self.outside_loops(|parser| parser.body(&["endblock"]))?;
        self.next();
        if *self.peek() != TokenKind::BlockEnd {
            self.name()?;
        }
        self.end_of_tag()?;
        Ok(StatementKind::Block { is_scoped, body })
    }

    fn outside_loops<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let was_in_loop = std::mem::replace(&mut self.is_in_loop, false);
        let parsed = parse(self)?;
        self.is_in_loop = was_in_loop;
        Ok(parsed)
    }

    fn macro_definition(&mut self) -> Result<StatementKind, Error> {
        let name = self.assignable_name()?;
        let parameters = self.parameters()?;
        Ok(StatementKind::Macro(self.macro_body(name, parameters, "endmacro")?))
    }

    fn call_block(&mut self) -> Result<StatementKind, Error> {
        let parameters = if self.is_symbol("(") { self.parameters()? } else { Vec::new() };
        let call = self.unary(true)?;
        if !matches!(call.kind, ExpressionKind::Call(..)) {
            return Err(Error::syntax(call.line, "a call block is for a call"));
        }
        Ok(StatementKind::Call(call, self.macro_body("caller".into(), parameters, "endcall")?))
    }

    fn macro_body(&mut self, name: Rc<str>, parameters: Parameters, end: &str) -> Result<Rc<Macro>, Error> {
        let outer = std::mem::take(&mut self.uses);
        let body = self.outside_loops(|parser| parser.block(end))?;
        let uses = std::mem::replace(&mut self.uses, outer);
        // A macro within uses them for the one around it, too.
        self.uses.varargs |= uses.varargs;
        self.uses.kwargs |= uses.kwargs;
        self.uses.caller |= uses.caller;
        Ok(Rc::new(Macro { name, parameters, body, uses }))
    }

    fn parameters(&mut self) -> Result<Parameters, Error> {
        self.expect_symbol("(")?;
        let mut parameters = Parameters::new();
        while !self.is_symbol(")") {
            if !parameters.is_empty() {
                self.expect_symbol(",")?;
            }
            let line = self.line();
            let name = self.assignable_name()?;
            let default = if self.take_symbol("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return Err(Error::syntax(line, "a parameter without a default follows one with a default"));
            }
            parameters.push((name, default));
        }
        self.expect_symbol(")")?;
        Ok(parameters)
    }
}

type Parameters = Vec<(Rc<str>, Option<Expression>)>;
