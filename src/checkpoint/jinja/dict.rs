//! Python's dictionaries: in the order of insertion, and `1`, `1.0` and `True` are one key.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::rc::Rc;

use super::error::Error;
use super::run::Run;
use super::value::{Items, Str, Value};

#[derive(Clone, Default)]
pub(super) struct Dict {
    keys: Items,
    values: Items,
    places: HashMap<Key, usize>,
}

/// What of a value decides which key it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    None,
    Int(i128),
    /// The bits of one that is no integer.
    Float(u64),
    Str(Rc<str>),
    Tuple(Vec<Key>),
    Undefined,
    /// What is equal to itself only.
    Object(usize),
}

impl Key {
    pub(super) fn of(run: &Run, value: &Value) -> Result<Self, Error> {
        Ok(match value {
            Value::None => Key::None,
            Value::Undefined(_) => Key::Undefined,
            Value::Bool(_) | Value::Int(_) => Key::Int(value.as_int().unwrap_or_default()),
            Value::Float(float) => Self::of_float(*float),
            Value::Str(Str { text, .. }) => {
                run.bytes(text.len())?;
                Key::Str(text.clone())
            }
            Value::Tuple(items) | Value::Group(items) => {
                let _level = run.enter()?;
                run.spend(items.len().saturating_mul(4))?;
                Key::Tuple(items.iter().map(|item| Self::of(run, item)).collect::<Result<_, _>>()?)
            }
            Value::Range(range) => {
                run.spend(range.len())?;
                Key::Tuple(range.items().map(Key::Int).collect())
            }
            Value::Function(function) => Key::Object(function.name.as_ptr().addr()),
            Value::Generator(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Macro(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Method(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Namespace(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Loop(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Cycler(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::Joiner(object) => Key::Object(Rc::as_ptr(object).addr()),
            Value::List(_) | Value::Dict(_) | Value::View(..) => {
                return Err(Error::operation(format!("unhashable type: '{}'", value.type_name())));
            }
        })
    }

    fn of_float(float: f64) -> Self {
        const BEYOND: f64 = i128::MAX as f64;
        match float.fract() == 0.0 && float.abs() < BEYOND {
            true => Key::Int(float as i128),
            false => Key::Float(float.to_bits()),
        }
    }
}

impl Dict {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn insert(&mut self, run: &Run, key: Value, value: Value) -> Result<(), Error> {
        let place = self.places.len();
        let place = *self.places.entry(Key::of(run, &key)?).or_insert(place);
        if place < self.values.len() {
            self.values.0[place] = value;
        } else {
            run.spend(4)?;
            self.keys.0.push(key);
            self.values.0.push(value);
        }
        Ok(())
    }

    pub(super) fn get(&self, run: &Run, key: &Value) -> Result<Option<&Value>, Error> {
        Ok(self.places.get(&Key::of(run, key)?).map(|&place| &self.values[place]))
    }

    pub(super) fn get_str(&self, key: &str) -> Option<&Value> {
        self.places.get(&Key::Str(key.into())).map(|&place| &self.values[place])
    }

    pub(super) fn keys(&self) -> &[Value] {
        &self.keys
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Value, &Value)> + ExactSizeIterator {
        self.keys.iter().zip(self.values.iter())
    }

    /// Its pairs, each a tuple.
    pub(super) fn pairs(&self) -> Vec<Value> {
        self.iter().map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()])).collect()
    }
}
