//! Statements → text.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::access::{iterate, unpack};
use super::ast::{Body, Expression, ExpressionKind, FilterCall, For, Macro, Statement, StatementKind, Target};
use super::error::Error;
use super::evaluate::{apply, evaluate, evaluate_arguments};
use super::repr::to_text;
use super::run::{Cyclic, Run};
use super::scope::Scope;
use super::value::{Closure, Items, Loop, Value};
use super::{calls, parser};

/// Renders a template with `variables`.
pub(super) fn render(run: &Run, source: &str, variables: Vec<(Rc<str>, Value)>) -> Result<String, Error> {
    let body = parser::parse(source)?;
    let scope = Scope::outermost();
    for (name, value) in variables {
        scope.set(name, value);
    }
    let mut writer = Writer { run, text: String::new() };
    writer.body(&Scope::within(&scope), &body)?;
    Ok(writer.text)
}

/// What a body ended by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Writer<'a> {
    run: &'a Run,
    text: String,
}

/// The text of `body`.
pub(super) fn text_of(run: &Run, scope: &Rc<Scope>, body: &Body) -> Result<Value, Error> {
    let mut writer = Writer { run, text: String::new() };
    writer.body(scope, body)?;
    Ok(Value::str(writer.text))
}

/// The text of a recursive loop that calls itself with `items`.
pub(super) fn loop_again(
    run: &Run,
    scope: &Rc<Scope>,
    definition: &Rc<For>,
    items: Vec<Value>,
    depth: usize,
) -> Result<Value, Error> {
    let mut writer = Writer { run, text: String::new() };
    writer.for_items(scope, definition, items, depth)?;
    Ok(Value::str(writer.text))
}

impl Writer<'_> {
    fn body(&mut self, scope: &Rc<Scope>, body: &Body) -> Result<Flow, Error> {
        for statement in body {
            let _level = self.run.enter().map_err(|error| error.at(statement.line))?;
            let flow = self.statement(scope, statement).map_err(|error| error.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        self.run.bytes(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    fn statement(&mut self, scope: &Rc<Scope>, statement: &Statement) -> Result<Flow, Error> {
        let run = self.run;
        match &statement.kind {
            StatementKind::Text(text) => self.write(text)?,
            StatementKind::Print(expression) => {
                let text = to_text(run, &evaluate(run, scope, expression)?)?;
                self.write(&text)?;
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if evaluate(run, scope, condition)?.is_true() {
                        return self.body(scope, body);
                    }
                }
                return self.body(scope, otherwise);
            }
            StatementKind::For(definition) => {
                let items = iterate(run, &evaluate(run, scope, &definition.items)?)?;
                return self.for_items(scope, definition, items, 0);
            }
            StatementKind::Set(target, value) => {
                let value = evaluate(run, scope, value)?;
                assign(run, scope, target, value)?;
            }
            StatementKind::SetBlock(target, filters, body) => {
                let inner = Scope::within(scope);
                let text = filtered(run, &inner, text_of(run, &inner, body)?, filters)?;
                assign(run, scope, target, text)?;
            }
            StatementKind::Macro(definition) => {
                scope.set(definition.name.clone(), closure(run, scope, definition)?);
            }
            StatementKind::Call(call, caller) => {
                let text = self.call_block(scope, call, caller)?;
                self.write(&text)?;
            }
            StatementKind::FilterBlock(filters, body) => {
                let inner = Scope::within(scope);
                let text = filtered(run, &inner, text_of(run, &inner, body)?, filters)?;
                self.write(&to_text(run, &text)?)?;
            }
            StatementKind::With(bindings, body) => {
                let inner = Scope::within(scope);
                for (target, value) in bindings {
                    assign(run, &inner, target, evaluate(run, scope, value)?)?;
                }
                return self.body(&inner, body);
            }
            StatementKind::Generation(body) => return self.body(&Scope::within(scope), body),
            StatementKind::Block { is_scoped, body } => {
                let outer = if *is_scoped { scope.clone() } else { scope.outermost_of() };
                return self.body(&Scope::within(&outer), body);
            }
            StatementKind::Autoescape(condition, body) => {
                if evaluate(run, scope, condition)?.is_true() {
                    return Err(Error::operation("chat templates are not escaped for HTML"));
                }
                return self.body(&Scope::within(scope), body);
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::OtherTemplate => return Err(Error::operation("a chat template can load no others")),
        }
        Ok(Flow::Next)
    }

    fn for_items(
        &mut self,
        scope: &Rc<Scope>,
        definition: &Rc<For>,
        mut items: Vec<Value>,
        depth: usize,
    ) -> Result<Flow, Error> {
        let run = self.run;
        if let Some(condition) = &definition.condition {
            let mut kept = Vec::new();
            for item in items {
                let inner = Scope::within(scope);
                assign(run, &inner, &definition.target, item.clone())?;
                if evaluate(run, &inner, condition)?.is_true() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        let recursive = definition.is_recursive.then(|| (definition.clone(), scope.clone()));
        let state =
            Rc::new(Loop { items: Items(items), index: Cell::new(0), depth, seen: RefCell::new(None), recursive });
        let name: Rc<str> = "loop".into();
        let mut is_through = false;
        for (index, item) in state.items.iter().enumerate() {
            state.index.set(index);
            let inner = Scope::within(scope);
            run.spend(4)?;
            inner.set(name.clone(), Value::Loop(state.clone()));
            assign(run, &inner, &definition.target, item.clone())?;
            match self.body(&inner, &definition.body)? {
                Flow::Next => is_through = true,
                Flow::Continue => {}
                Flow::Break => break,
            }
        }
        // Jinja takes a loop for empty if no item got to the end of its body.
        match is_through {
            true => Ok(Flow::Next),
            false => self.body(&Scope::within(scope), &definition.otherwise),
        }
    }

    fn call_block(&mut self, scope: &Rc<Scope>, call: &Expression, caller: &Rc<Macro>) -> Result<Rc<str>, Error> {
        let ExpressionKind::Call(callee, arguments) = &call.kind else {
            return Err(Error::operation("a call block is for a call"));
        };
        let callee = evaluate(self.run, scope, callee)?;
        let mut arguments = evaluate_arguments(self.run, scope, arguments)?;
        arguments.named.push(("caller".into(), closure(self.run, scope, caller)?));
        to_text(self.run, &calls::call(self.run, &callee, arguments)?)
    }
}

/// A macro that sees the names around it, those that are set later, too.
fn closure(run: &Run, scope: &Rc<Scope>, definition: &Rc<Macro>) -> Result<Value, Error> {
    run.spend(8)?;
    run.empty_at_end(Cyclic::Scope(scope.clone()));
    Ok(Value::Macro(Rc::new(Closure { definition: definition.clone(), scope: scope.clone() })))
}

fn filtered(run: &Run, scope: &Rc<Scope>, value: Value, filters: &[FilterCall]) -> Result<Value, Error> {
    filters.iter().try_fold(value, |value, filter| apply(run, scope, value, filter))
}

fn assign(run: &Run, scope: &Rc<Scope>, target: &Target, value: Value) -> Result<(), Error> {
    match target {
        Target::Name(name) => scope.set(name.clone(), value),
        Target::Attribute(name, attribute) => match scope.get(name) {
            Some(Value::Namespace(namespace)) => namespace.set(run, attribute, value)?,
            _ => return Err(Error::operation("cannot assign attribute on non-namespace object")),
        },
        Target::Tuple(targets) => {
            for (target, item) in targets.iter().zip(unpack(run, &value, targets.len())?) {
                assign(run, scope, target, item)?;
            }
        }
    }
    Ok(())
}
