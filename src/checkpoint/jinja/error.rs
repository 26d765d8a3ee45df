//! Why a template does not compile or render, and on which line.

#![forbid(unsafe_code)]

use std::fmt;

#[derive(Debug, thiserror::Error)]
#[error("{kind}: {message} (in chat_template:{line})")]
pub(in crate::checkpoint) struct Error {
    kind: Kind,
    message: String,
    /// From 1; 0 until the statement that failed has said where it stands.
    line: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Syntax,
    Operation,
    Undefined,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Syntax => "syntax error",
            Kind::Operation => "invalid operation",
            Kind::Undefined => "undefined value",
        })
    }
}

impl Error {
    pub(super) fn syntax(line: usize, message: impl Into<String>) -> Self {
        Self { kind: Kind::Syntax, message: message.into(), line }
    }

    /// What Python has many exceptions for.
    pub(super) fn operation(message: impl Into<String>) -> Self {
        Self { kind: Kind::Operation, message: message.into(), line: 0 }
    }

    pub(super) fn undefined(message: impl Into<String>) -> Self {
        Self { kind: Kind::Undefined, message: message.into(), line: 0 }
    }

    /// The innermost place wins.
    pub(super) fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}
