//! What operators stand between: literals, names, calls, and what filters and tests make of them.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::ast::{CallArguments, Expression, ExpressionKind, FilterCall};
use super::error::Error;
use super::parser::Parser;
use super::tokens::TokenKind;
use super::value::Value;
use super::{filters, predicates};

impl Parser {
    pub(super) fn primary(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let kind = match self.peek().clone() {
            TokenKind::Name(name) => {
                self.next();
                match &*name {
                    "true" | "True" => ExpressionKind::Constant(Value::Bool(true)),
                    "false" | "False" => ExpressionKind::Constant(Value::Bool(false)),
                    "none" | "None" => ExpressionKind::Constant(Value::None),
                    _ => {
                        self.uses.varargs |= &*name == "varargs";
                        self.uses.kwargs |= &*name == "kwargs";
                        self.uses.caller |= &*name == "caller";
                        ExpressionKind::Name(name)
                    }
                }
            }
            TokenKind::String(first) => {
                self.next();
                let mut text = first.to_string();
                while let TokenKind::String(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                ExpressionKind::Constant(Value::str(text))
            }
            TokenKind::Int(value) => {
                self.next();
                ExpressionKind::Constant(Value::Int(value))
            }
            TokenKind::Float(value) => {
                self.next();
                ExpressionKind::Constant(Value::Float(value))
            }
            TokenKind::Symbol("(") => {
                self.next();
                let tuple = self.deeper(|parser| parser.tuple_items(true, &[], true))?;
                self.expect_symbol(")")?;
                return Ok(tuple);
            }
            TokenKind::Symbol("[") => {
                self.next();
                ExpressionKind::List(self.separated("]", Self::expression)?)
            }
            TokenKind::Symbol("{") => {
                self.next();
                ExpressionKind::Dict(self.separated("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect_symbol(":")?;
                    Ok((key, parser.expression()?))
                })?)
            }
            _ => return Err(self.unexpected("an expression")),
        };
        Ok(Expression { line, kind })
    }

    /// What stands between commas up to `end`, which is taken.
    fn separated<T>(&mut self, end: &str, item: fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        while !self.is_symbol(end) {
            if !items.is_empty() {
                self.expect_symbol(",")?;
            }
            if self.is_symbol(end) {
                break;
            }
            items.push(item(self)?);
        }
        self.expect_symbol(end)?;
        Ok(items)
    }

    /// An expression, or several with commas between them, which make a tuple.
    pub(super) fn tuple(&mut self, with_conditionals: bool, ends: &[&str]) -> Result<Expression, Error> {
        self.tuple_items(with_conditionals, ends, false)
    }

    fn tuple_items(&mut self, with_conditionals: bool, ends: &[&str], may_be_empty: bool) -> Result<Expression, Error> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                is_tuple |= self.is_symbol(",");
                if !self.take_symbol(",") {
                    break;
                }
            }
            let is_end = matches!(
                self.peek(),
                TokenKind::VariableEnd | TokenKind::BlockEnd | TokenKind::Symbol(")") | TokenKind::End
            );
            if is_end || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            items.push(if with_conditionals { self.expression()? } else { self.or()? });
        }
        match items.len() {
            0 if !may_be_empty => Err(self.unexpected("an expression")),
            1 if !is_tuple => Ok(items.remove(0)),
            _ => Ok(Expression { line, kind: ExpressionKind::Tuple(items) }),
        }
    }

    pub(super) fn postfix(&mut self, mut expression: Expression) -> Result<Expression, Error> {
        let mut length = 0;
        loop {
            let line = self.line();
            let kind = if self.take_symbol(".") {
                match self.next() {
                    TokenKind::Name(name) => ExpressionKind::Attribute(Box::new(expression), name),
                    TokenKind::Int(index) => {
                        let index = Expression { line, kind: ExpressionKind::Constant(Value::Int(index)) };
                        ExpressionKind::Item(Box::new(expression), Box::new(index))
                    }
                    other => {
                        let found = other.describe();
                        return Err(Error::syntax(line, format!("unexpected {found}, expected a name or a number")));
                    }
                }
            } else if self.take_symbol("[") {
                self.subscript(expression)?
            } else if self.take_symbol("(") {
                ExpressionKind::Call(Box::new(expression), self.call_arguments()?)
            } else {
                return Ok(expression);
            };
            length += 1;
            self.check_length(length)?;
            expression = Expression { line, kind };
        }
    }

    fn subscript(&mut self, value: Expression) -> Result<ExpressionKind, Error> {
        let mut parts = [None, None, None];
        let mut index = 0;
        while index < 3 {
            if !matches!(self.peek(), TokenKind::Symbol(":" | "]" | ",")) {
                parts[index] = Some(Box::new(self.expression()?));
            }
            if !self.take_symbol(":") {
                break;
            }
            index += 1;
        }
        if index > 0 {
            self.expect_symbol("]")?;
            return Ok(ExpressionKind::Slice(Box::new(value), parts));
        }
        let [first, ..] = parts;
        let Some(mut key) = first else { return Err(self.unexpected("an index")) };
        if self.is_symbol(",") {
            let mut items = vec![*key];
            while self.take_symbol(",") {
                items.push(self.expression()?);
            }
            key = Box::new(Expression { line: self.line(), kind: ExpressionKind::Tuple(items) });
        }
        self.expect_symbol("]")?;
        Ok(ExpressionKind::Item(Box::new(value), key))
    }

    /// What follows a call's opening parenthesis.
    fn call_arguments(&mut self) -> Result<CallArguments, Error> {
        let mut arguments = CallArguments::default();
        while !self.is_symbol(")") {
            if !arguments.is_empty() {
                self.expect_symbol(",")?;
                if self.is_symbol(")") {
                    break;
                }
            }
            let line = self.line();
            let misplaced = || Error::syntax(line, "arguments in an order that has no meaning");
            if self.take_symbol("**") {
                let mapping = self.expression()?;
                if arguments.mapping.replace(Box::new(mapping)).is_some() {
                    return Err(misplaced());
                }
            } else if arguments.mapping.is_some() {
                return Err(misplaced());
            } else if self.take_symbol("*") {
                let sequence = self.expression()?;
                if arguments.sequence.replace(Box::new(sequence)).is_some() {
                    return Err(misplaced());
                }
            } else if matches!((self.peek(), self.peek_second()), (TokenKind::Name(_), TokenKind::Symbol("="))) {
                let name = self.name()?;
                self.next();
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.sequence.is_none() {
                arguments.positional.push(self.expression()?);
            } else {
                return Err(misplaced());
            }
        }
        self.expect_symbol(")")?;
        Ok(arguments)
    }

    /// Filters and tests behind an expression, and calls of what they give.
    pub(super) fn filtered(&mut self, mut expression: Expression) -> Result<Expression, Error> {
        let mut length = 0;
        loop {
            let line = self.line();
            if self.take_symbol("|") {
                let filter = self.filter_call()?;
                expression = Expression { line, kind: ExpressionKind::Filter(Box::new(expression), filter) };
            } else if self.take_name("is") {
                expression = self.test(expression, line)?;
            } else if self.take_symbol("(") {
                let arguments = self.call_arguments()?;
                expression = Expression { line, kind: ExpressionKind::Call(Box::new(expression), arguments) };
            } else {
                return Ok(expression);
            }
            length += 1;
            self.check_length(length)?;
        }
    }

    fn dotted_name(&mut self) -> Result<Rc<str>, Error> {
        let mut name = self.name()?.to_string();
        while self.take_symbol(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name.into())
    }

    fn filter_call(&mut self) -> Result<FilterCall, Error> {
        let line = self.line();
        let name = self.dotted_name()?;
        if filters::find(&name).is_none() {
            self.unknown.push(Error::syntax(line, format!("no filter is named '{name}'")));
        }
        let arguments = if self.take_symbol("(") { self.call_arguments()? } else { CallArguments::default() };
        Ok(FilterCall { line, name, arguments })
    }

    /// Filters of a block, the first of which stands where a value would if `begins_inline`.
    pub(super) fn filters(&mut self, begins_inline: bool) -> Result<Vec<FilterCall>, Error> {
        let mut filters = Vec::new();
        if begins_inline {
            filters.push(self.filter_call()?);
        }
        while self.take_symbol("|") {
            filters.push(self.filter_call()?);
        }
        Ok(filters)
    }

    fn test(&mut self, value: Expression, line: usize) -> Result<Expression, Error> {
        let is_negated = self.take_name("not");
        let name = self.dotted_name()?;
        if predicates::find(&name).is_none() {
            self.unknown.push(Error::syntax(line, format!("no test is named '{name}'")));
        }
        let mut arguments = CallArguments::default();
        if self.take_symbol("(") {
            arguments = self.call_arguments()?;
        } else {
            let has_argument = match self.peek() {
                TokenKind::Name(name) if &**name == "is" => {
                    return Err(Error::syntax(self.line(), "tests cannot be chained with 'is'"));
                }
                TokenKind::Name(name) => !matches!(&**name, "else" | "or" | "and"),
                TokenKind::String(_) | TokenKind::Int(_) | TokenKind::Float(_) => true,
                TokenKind::Symbol(symbol) => matches!(*symbol, "[" | "{"),
                _ => false,
            };
            if has_argument {
                let argument = self.primary()?;
                arguments.positional.push(self.postfix(argument)?);
            }
        }
        let test = Expression { line, kind: ExpressionKind::Test(Box::new(value), name, arguments) };
        match is_negated {
            true => Ok(Expression { line, kind: ExpressionKind::Not(Box::new(test)) }),
            false => Ok(test),
        }
    }
}
