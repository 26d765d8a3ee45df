//! Values as Python has them. They do not change once made, as transformers' sandbox has it, but for namespaces and the
//! few objects that count.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use super::arguments::Arguments;
use super::ast;
use super::dict::Dict;
use super::error::Error;
use super::range::Range;
use super::run::{Cyclic, Run};
use super::scope::Scope;

#[derive(Clone)]
pub(super) enum Value {
    /// And why, in words.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Str),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    /// What `groupby` gives: a tuple whose two items are also called `grouper` and `list`.
    Group(Rc<Items>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Rc<Range>),
    /// Items that can be gone through once.
    Generator(Rc<RefCell<Items>>),
    Namespace(Rc<Namespace>),
    Function(Function),
    Method(Rc<Method>),
    Macro(Rc<Closure>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
}

/// Text, which may be marked as safe for HTML: then what is added to it is escaped, in chat templates as elsewhere.
#[derive(Clone)]
pub(super) struct Str {
    pub(super) text: Rc<str>,
    pub(super) is_safe: bool,
}

/// What a dictionary's `keys()`, `values()` and `items()` give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

pub(super) type Call = fn(&Run, Arguments) -> Result<Value, Error>;
pub(super) type MethodCall = fn(&Run, &Value, Arguments) -> Result<Value, Error>;

#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) call: Call,
}

pub(super) struct Method {
    /// The one value that it is a method of.
    pub(super) receiver: Items,
    pub(super) name: &'static str,
    pub(super) call: MethodCall,
}

/// A macro, or the body of a `call` block, and where it was written.
pub(super) struct Closure {
    pub(super) definition: Rc<ast::Macro>,
    pub(super) scope: Rc<Scope>,
}

pub(super) struct Namespace(RefCell<Dict>);

pub(super) struct Loop {
    pub(super) items: Items,
    pub(super) index: Cell<usize>,
    pub(super) depth: usize,
    /// What `changed` was last asked about.
    pub(super) seen: RefCell<Option<Items>>,
    /// What a call of a recursive loop goes through again.
    pub(super) recursive: Option<(Rc<ast::For>, Rc<Scope>)>,
}

pub(super) struct Cycler {
    pub(super) items: Items,
    pub(super) position: Cell<usize>,
}

pub(super) struct Joiner {
    /// One value.
    pub(super) separator: Items,
    pub(super) is_used: Cell<bool>,
}

impl Value {
    pub(super) fn str(text: impl Into<Rc<str>>) -> Self {
        Value::Str(Str { text: text.into(), is_safe: false })
    }

    pub(super) fn list(items: Vec<Value>) -> Self {
        Value::List(Rc::new(Items(items)))
    }

    pub(super) fn tuple(items: Vec<Value>) -> Self {
        Value::Tuple(Rc::new(Items(items)))
    }

    pub(super) fn generator(items: Vec<Value>) -> Self {
        Value::Generator(Rc::new(RefCell::new(Items(items))))
    }

    pub(super) fn dict(dict: Dict) -> Self {
        Value::Dict(Rc::new(dict))
    }

    pub(super) fn undefined(reason: impl Into<Rc<str>>) -> Self {
        Value::Undefined(reason.into())
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(Str { is_safe: false, .. }) => "str",
            Value::Str(_) => "Markup",
            Value::List(_) => "list",
            Value::Tuple(_) | Value::Group(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(_) => "range",
            Value::Generator(_) => "generator",
            Value::Namespace(_) => "Namespace",
            Value::Function(_) => "function",
            Value::Method(_) => "builtin_function_or_method",
            Value::Macro(_) => "Macro",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(value) => !value.text.is_empty(),
            Value::List(items) | Value::Tuple(items) | Value::Group(items) => !items.is_empty(),
            Value::Dict(dict) | Value::View(_, dict) => dict.len() != 0,
            Value::Range(range) => range.len() != 0,
            _ => true,
        }
    }

    /// `None` where Python's `len` fails.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Value::Undefined(_) => Some(0),
            Value::Str(value) => Some(value.text.chars().count()),
            Value::List(items) | Value::Tuple(items) | Value::Group(items) => Some(items.len()),
            Value::Dict(dict) | Value::View(_, dict) => Some(dict.len()),
            Value::Range(range) => Some(range.len()),
            Value::Loop(state) => Some(state.items.len()),
            _ => None,
        }
    }

    pub(super) fn has_len(&self) -> bool {
        matches!(
            self,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Group(_)
                | Value::Dict(_)
                | Value::View(..)
                | Value::Range(_)
                | Value::Loop(_)
        )
    }

    /// An integer, as which Python takes truth values, too.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(value) => Some(&value.text),
            _ => None,
        }
    }

    pub(super) fn as_tuple(&self) -> Option<&[Value]> {
        match self {
            Value::Tuple(items) | Value::Group(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// Python's `is`, as far as it does not depend on how its interpreter shares values.
    pub(super) fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Int(left), Value::Int(right)) => left == right,
            (Value::Str(left), Value::Str(right)) => Rc::ptr_eq(&left.text, &right.text),
            (Value::List(left), Value::List(right)) => Rc::ptr_eq(left, right),
            (Value::Tuple(left), Value::Tuple(right)) => Rc::ptr_eq(left, right) || left.len() + right.len() == 0,
            (Value::Group(left), Value::Group(right)) => Rc::ptr_eq(left, right),
            (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
            (Value::Generator(left), Value::Generator(right)) => Rc::ptr_eq(left, right),
            (Value::Namespace(left), Value::Namespace(right)) => Rc::ptr_eq(left, right),
            (Value::Function(left), Value::Function(right)) => left.name == right.name,
            (Value::Macro(left), Value::Macro(right)) => Rc::ptr_eq(left, right),
            (Value::Loop(left), Value::Loop(right)) => Rc::ptr_eq(left, right),
            (Value::Cycler(left), Value::Cycler(right)) => Rc::ptr_eq(left, right),
            (Value::Joiner(left), Value::Joiner(right)) => Rc::ptr_eq(left, right),
            _ => false,
        }
    }
}

impl Namespace {
    /// The namespaces of a rendering are emptied at its end.
    pub(super) fn make(run: &Run, attributes: Dict) -> Value {
        let namespace = Rc::new(Self(RefCell::new(attributes)));
        run.empty_at_end(Cyclic::Namespace(namespace.clone()));
        Value::Namespace(namespace)
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.0.borrow().get_str(name).cloned()
    }

    pub(super) fn set(&self, run: &Run, name: &str, value: Value) -> Result<(), Error> {
        Self::check_name(name)?;
        self.0.borrow_mut().insert(run, Value::str(name), value)
    }

    /// transformers keeps these from templates.
    pub(super) fn check_name(name: &str) -> Result<(), Error> {
        match name.starts_with('_') {
            true => Err(Error::operation(format!("a namespace has no attributes like '{name}', with an underscore"))),
            false => Ok(()),
        }
    }

    pub(super) fn attributes(&self) -> Dict {
        self.0.borrow().clone()
    }

    pub(super) fn clear(&self) {
        let attributes = self.0.take();
        drop(attributes);
    }
}

/// Values that belong to one other.
#[derive(Clone, Default)]
pub(super) struct Items(pub(super) Vec<Value>);

impl Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0
    }
}

thread_local! {
    /// What is still to be dropped, while something is.
    static DROPPED: RefCell<Option<Vec<Value>>> = const { RefCell::new(None) };
}

/// Lists may lie in lists millions deep, deeper than the stack: values are dropped in a loop, not within one another.
impl Drop for Items {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let items = std::mem::take(&mut self.0);
        let is_first = DROPPED.with_borrow_mut(|dropped| match dropped {
            Some(dropped) => {
                dropped.extend(items);
                false
            }
            None => {
                *dropped = Some(items);
                true
            }
        });
        if is_first {
            while let Some(value) = DROPPED.with_borrow_mut(|dropped| dropped.as_mut().and_then(Vec::pop)) {
                drop(value);
            }
            DROPPED.set(None);
        }
    }
}
