//! Tokens → statements.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::ast::{Body, Expression, ExpressionKind, For, Macro, StatementKind, Target};
use super::error::Error;
use super::parser::Parser;
use super::tokens::TokenKind;

/// What nothing can be assigned to.
const RESERVED: [&str; 6] = ["true", "false", "none", "True", "False", "None"];

type Parameters = Vec<(Rc<str>, Option<Expression>)>;

impl Parser {
    /// The rest of a block's first tag, its body, and its last tag.
    fn block(&mut self, end: &str) -> Result<Body, Error> {
        self.end_of_tag()?;
        let body = self.body(&[end])?;
        self.next();
        self.end_of_tag()?;
        Ok(body)
    }

    pub(super) fn statement(&mut self) -> Result<StatementKind, Error> {
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
        let line = self.line();
        let target = self.target(false, &["in"])?;
        if matches!(&target, Target::Name(name) if &**name == "loop") {
            return Err(Error::syntax(line, "nothing but the loop itself can be called 'loop' in it"));
        }
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

    /// A name, names with commas between them, or a namespace's attribute.
    pub(super) fn target(&mut self, may_be_attribute: bool, ends: &[&str]) -> Result<Target, Error> {
        let first = self.single_target(may_be_attribute)?;
        if !self.is_symbol(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take_symbol(",") {
            let is_end = matches!(self.peek(), TokenKind::BlockEnd | TokenKind::Symbol(")" | "="));
            if is_end || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            targets.push(self.single_target(may_be_attribute)?);
        }
        Ok(Target::Tuple(targets))
    }

    pub(super) fn single_target(&mut self, may_be_attribute: bool) -> Result<Target, Error> {
        if self.take_symbol("(") {
            let target = self.deeper(|parser| parser.target(may_be_attribute, &[]))?;
            self.expect_symbol(")")?;
            return Ok(target);
        }
        let name = self.assignable_name()?;
        match may_be_attribute && self.take_symbol(".") {
            true => Ok(Target::Attribute(name, self.name()?)),
            false => Ok(Target::Name(name)),
        }
    }

    pub(super) fn assignable_name(&mut self) -> Result<Rc<str>, Error> {
        let line = self.line();
        let name = self.name()?;
        match RESERVED.contains(&&*name) {
            true => Err(Error::syntax(line, format!("nothing can be assigned to '{name}'"))),
            false => Ok(name),
        }
    }
}
