//! What can be wrong with a checkpoint. Every message names the file, the field or tensor in it, what was expected and
//! what was found.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint, or a part of it, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system would not let us.
    #[error("{file}: cannot {action}", file = file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What was tried: `open`, `read`, `map`.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that is missing, of the wrong kind, too large, or not in its format.
    #[error("{file}: expected {expected}, found {found}", file = file.display())]
    File {
        /// The file or directory.
        file: PathBuf,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field of a JSON file.
    #[error("{file}: field `{field}`: expected {expected}, found {found}", file = file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The field's path in it, joined by dots.
        field: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A tensor.
    #[error("{file}: tensor {tensor}: expected {expected}, found {found}", file = file.display(), tensor = Excerpt(tensor))]
    Tensor {
        /// The file that holds it, or should.
        file: PathBuf,
        /// Its full name in that file.
        tensor: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A chat template that does not compile, or failed while it ran.
    #[error("{file}: chat template: {message}", file = file.display())]
    Template {
        /// The file that holds the template.
        file: PathBuf,
        /// What the template engine, or the template itself, says.
        message: String,
    },
}

impl CheckpointError {
    pub(super) fn file(file: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::File { file: file.into(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn field(
        file: &Path,
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Field { file: file.into(), field: field.into(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn tensor(file: &Path, tensor: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Tensor { file: file.into(), tensor: tensor.into(), expected: expected.into(), found: found.into() }
    }
}

/// Told of each fault that does not keep others from being found. `Err` itself ends a reading at the first one.
pub(super) type Faults<'a> = &'a mut dyn FnMut(CheckpointError) -> Result<(), CheckpointError>;

/// Text from a file as a message may show it: quoted, control characters escaped, cut after a line's length.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 120;
        match self.0.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(formatter, "{:?}…", &self.0[..end]),
            None => write!(formatter, "{:?}", self.0),
        }
    }
}

/// `1 element`, `2 elements`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
