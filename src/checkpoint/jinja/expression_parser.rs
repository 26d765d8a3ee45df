//! Operators and what they bind, with Jinja's precedences: of `**` and `-` they are not Python's.

#![forbid(unsafe_code)]

use super::arithmetic::Operator;
use super::ast::{Expression, ExpressionKind};
use super::compare::Comparison;
use super::error::Error;
use super::parser::Parser;
use super::tokens::TokenKind;

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expression, Error> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expression, Error> {
        let known = self.unknown.len();
        let line = self.line();
        let mut then = self.or()?;
        while self.take_name("if") {
            let condition = self.or()?;
            let otherwise = match self.take_name("else") {
                true => Some(Box::new(self.deeper(Self::conditional)?)),
                false => None,
            };
            self.unknown.truncate(known);
            let kind = ExpressionKind::Conditional { condition: Box::new(condition), then: Box::new(then), otherwise };
            then = Expression { line, kind };
        }
        Ok(then)
    }

    pub(super) fn or(&mut self) -> Result<Expression, Error> {
        self.left_to_right(Self::and, |parser| {
            parser.take_name("or").then_some(ExpressionKind::Or as fn(Box<_>, Box<_>) -> _)
        })
    }

    fn and(&mut self) -> Result<Expression, Error> {
        self.left_to_right(Self::not, |parser| {
            parser.take_name("and").then_some(ExpressionKind::And as fn(Box<_>, Box<_>) -> _)
        })
    }

    /// Operands of one precedence, with whatever `operator` makes of two of them.
    fn left_to_right<Make>(
        &mut self,
        operand: fn(&mut Self) -> Result<Expression, Error>,
        operator: fn(&mut Self) -> Option<Make>,
    ) -> Result<Expression, Error>
    where
        Make: Fn(Box<Expression>, Box<Expression>) -> ExpressionKind,
    {
        let mut left = operand(self)?;
        let mut length = 0;
        loop {
            let line = self.line();
            let Some(make) = operator(self) else { return Ok(left) };
            length += 1;
            self.check_length(length)?;
            left = Expression { line, kind: make(Box::new(left), Box::new(operand(self)?)) };
        }
    }

    /// A chain nests to the left as deep as it is long.
    pub(super) fn check_length(&self, length: usize) -> Result<(), Error> {
        const LONGEST: usize = 150;
        match length > LONGEST {
            true => Err(Error::syntax(self.line(), format!("more than {LONGEST} operators in a row"))),
            false => Ok(()),
        }
    }

    fn not(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        if self.take_name("not") {
            let value = Box::new(self.deeper(Self::not)?);
            return Ok(Expression { line, kind: ExpressionKind::Not(value) });
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                TokenKind::Symbol(symbol) => Comparison::by_symbol(symbol),
                TokenKind::Name(name) if &**name == "in" => Some(Comparison::In),
                TokenKind::Name(name) if &**name == "not" => {
                    matches!(self.peek_second(), TokenKind::Name(name) if &**name == "in").then(|| {
                        self.next();
                        Comparison::NotIn
                    })
                }
                _ => None,
            };
            let Some(comparison) = comparison else { break };
            self.next();
            rest.push((comparison, self.sum()?));
        }
        match rest.is_empty() {
            true => Ok(first),
            false => Ok(Expression { line, kind: ExpressionKind::Compare(Box::new(first), rest) }),
        }
    }

    fn sum(&mut self) -> Result<Expression, Error> {
        self.arithmetic(Self::concatenation, &[("+", Operator::Add), ("-", Operator::Subtract)])
    }

    fn product(&mut self) -> Result<Expression, Error> {
        use Operator::{Divide, FloorDivide, Multiply, Remainder};
        self.arithmetic(Self::power, &[("*", Multiply), ("/", Divide), ("//", FloorDivide), ("%", Remainder)])
    }

    fn power(&mut self) -> Result<Expression, Error> {
        self.arithmetic(|parser| parser.unary(true), &[("**", Operator::Power)])
    }

    fn arithmetic(
        &mut self,
        operand: fn(&mut Self) -> Result<Expression, Error>,
        operators: &[(&str, Operator)],
    ) -> Result<Expression, Error> {
        let mut left = operand(self)?;
        let mut length = 0;
        loop {
            let line = self.line();
            let operator = operators.iter().find(|(symbol, _)| self.is_symbol(symbol));
            let Some(&(_, operator)) = operator else { return Ok(left) };
            self.next();
            length += 1;
            self.check_length(length)?;
            let right = operand(self)?;
            left = Expression { line, kind: ExpressionKind::Binary(operator, Box::new(left), Box::new(right)) };
        }
    }

    fn concatenation(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let mut parts = vec![self.product()?];
        while self.take_symbol("~") {
            parts.push(self.product()?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(Expression { line, kind: ExpressionKind::Concat(parts) }),
        }
    }

    pub(super) fn unary(&mut self, with_filters: bool) -> Result<Expression, Error> {
        let line = self.line();
        let is_negative = self.is_symbol("-");
        let mut expression = if is_negative || self.is_symbol("+") {
            self.next();
            let value = Box::new(self.deeper(|parser| parser.unary(false))?);
            Expression { line, kind: ExpressionKind::Sign { is_negative, value } }
        } else {
            self.primary()?
        };
        expression = self.postfix(expression)?;
        if with_filters { self.filtered(expression) } else { Ok(expression) }
    }
}
