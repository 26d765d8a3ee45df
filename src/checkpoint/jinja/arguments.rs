//! What a call hands over, and how functions take it.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::error::Error;
use super::value::Value;

#[derive(Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Rc<str>, Value)>,
}

impl Arguments {
    /// One for each of `names`, by position or by name; those named `_` by position only. The first `required` must be
    /// there.
    pub(super) fn take<const N: usize>(
        self,
        function: &str,
        required: usize,
        names: [&str; N],
    ) -> Result<[Option<Value>; N], Error> {
        let given = self.positional.len();
        if given > N {
            return Err(Error::operation(format!("{function}() takes at most {N} arguments ({given} given)")));
        }
        let mut taken = [const { None }; N];
        for (place, value) in taken.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|known| *known == &*name && *known != "_") {
                Some(index) if taken[index].is_none() => taken[index] = Some(value),
                Some(_) => return Err(Error::operation(format!("{function}() got multiple values for '{name}'"))),
                None => {
                    return Err(Error::operation(format!("{function}() got an unexpected keyword argument '{name}'")));
                }
            }
        }
        match taken[..required].iter().position(Option::is_none) {
            Some(missing) => {
                Err(Error::operation(format!("{function}() is missing its argument number {}", missing + 1)))
            }
            None => Ok(taken),
        }
    }

    /// No arguments at all.
    pub(super) fn none(self, function: &str) -> Result<(), Error> {
        self.take(function, 0, []).map(|[]| ())
    }

    /// The value of a keyword argument, which is taken out.
    pub(super) fn take_named(&mut self, name: &str) -> Option<Value> {
        let index = self.named.iter().position(|(known, _)| &**known == name)?;
        Some(self.named.remove(index).1)
    }
}

/// A required argument.
pub(super) fn given(value: Option<Value>) -> Value {
    value.unwrap_or(Value::None)
}

/// An integer, or `default` where there is none.
pub(super) fn integer(function: &str, value: Option<&Value>, default: i128) -> Result<i128, Error> {
    match value {
        None => Ok(default),
        Some(Value::Undefined(reason)) => Err(Error::undefined(&**reason)),
        Some(value) => value.as_int().ok_or_else(|| {
            Error::operation(format!("{function}: '{}' object cannot be interpreted as an integer", value.type_name()))
        }),
    }
}

/// Text, where Python takes nothing else.
pub(super) fn text<'a>(function: &str, value: &'a Value) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| match value {
        Value::Undefined(reason) => Error::undefined(&**reason),
        _ => Error::operation(format!("{function}: expected a str, found '{}'", value.type_name())),
    })
}

/// A truth value, or `default` where there is none.
pub(super) fn flag(value: Option<&Value>, default: bool) -> bool {
    value.map_or(default, Value::is_true)
}
