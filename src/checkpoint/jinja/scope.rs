//! Names and what they stand for. Loops, macros, `with` and blocks of output have a scope of their own; `if` has not.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::value::Value;

pub(super) struct Scope {
    names: RefCell<HashMap<Rc<str>, Value>>,
    outer: Option<Rc<Scope>>,
}

impl Scope {
    pub(super) fn outermost() -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), outer: None })
    }

    pub(super) fn within(outer: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), outer: Some(outer.clone()) })
    }

    pub(super) fn set(&self, name: Rc<str>, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut scope = self;
        loop {
            if let Some(value) = scope.names.borrow().get(name) {
                return Some(value.clone());
            }
            scope = scope.outer.as_deref()?;
        }
    }

    /// The one of the template's own names, which lies within that of the variables it is given.
    pub(super) fn outermost_of(self: &Rc<Self>) -> Rc<Self> {
        let mut scope = self;
        while let Some(outer) = scope.outer.as_ref().filter(|outer| outer.outer.is_some()) {
            scope = outer;
        }
        scope.clone()
    }

    pub(super) fn clear(&self) {
        let names = self.names.take();
        drop(names);
    }
}
