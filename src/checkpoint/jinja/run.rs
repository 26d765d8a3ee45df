//! One rendering's bounds. Templates are programs by strangers: each step of work, each piece of memory and each level
//! of recursion is paid for before it is taken.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::error::Error;
use super::scope::Scope;
use super::value::Namespace;

/// A step or 32 bytes cost one. A conversation of a million tokens fits.
const FUEL: u64 = 8 << 20;
/// Of statements, expressions, macros and values within one another: some hundred calls of macros, as in Python.
const DEEPEST: usize = 3000;
/// That of a rendering, so that how deep it may go does not depend on which thread asks for it. Only what is used of it
/// is memory.
pub(super) const STACK: usize = 64 << 20;

pub(super) struct Run {
    left: Cell<u64>,
    depth: Cell<usize>,
    cyclic: RefCell<Vec<Cyclic>>,
}

/// What can come to hold itself, which counting references alone would never free.
pub(super) enum Cyclic {
    Namespace(Rc<Namespace>),
    /// One in which a macro was defined.
    Scope(Rc<Scope>),
}

impl Run {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(FUEL), depth: Cell::new(0), cyclic: RefCell::default() }
    }

    /// Pays for `steps`, or for values of a list.
    pub(super) fn spend(&self, steps: usize) -> Result<(), Error> {
        let left = self.left.get().checked_sub(steps as u64);
        self.left.set(left.ok_or_else(|| Error::operation("the template takes too much work or memory"))?);
        Ok(())
    }

    /// Pays for text.
    pub(super) fn bytes(&self, bytes: usize) -> Result<(), Error> {
        self.spend(bytes / 32 + 1)
    }

    /// Goes one level deeper, until the guard is dropped.
    pub(super) fn enter(&self) -> Result<Level<'_>, Error> {
        let depth = self.depth.get() + 1;
        if depth > DEEPEST {
            return Err(Error::operation(format!("recursion of more than {DEEPEST} levels")));
        }
        self.depth.set(depth);
        self.spend(1)?;
        Ok(Level(self))
    }

    /// Empties `value` when the rendering ends.
    pub(super) fn empty_at_end(&self, value: Cyclic) {
        self.cyclic.borrow_mut().push(value);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for value in self.cyclic.get_mut() {
            match value {
                Cyclic::Namespace(namespace) => namespace.clear(),
                Cyclic::Scope(scope) => scope.clear(),
            }
        }
    }
}

pub(super) struct Level<'a>(&'a Run);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}
