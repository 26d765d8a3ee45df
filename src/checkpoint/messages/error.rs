//! What can be wrong with a conversation. Messages say where it is, as code would, and never more than a line of it.

#![forbid(unsafe_code)]

use std::io;

use serde_json::Value;

use crate::checkpoint::json::describe;

/// Why a conversation was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessagesError {
    /// The operating system would not let us.
    #[error("cannot read")]
    Io(#[source] io::Error),
    /// More than anyone has to say.
    #[error("a conversation of more bytes than can be read: expected at most {limit}")]
    TooLarge {
        /// The most there may be.
        limit: u64,
    },
    /// Not in its format.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// A member that is missing, or not what it should be.
    #[error("{place} is {found}: expected {expected}")]
    Member {
        /// Where it stands, such as `messages[3].role`.
        place: String,
        /// What is there.
        found: String,
        /// What would have been right.
        expected: String,
    },
}

impl MessagesError {
    pub(super) fn member(place: impl Into<String>, found: Option<&Value>, expected: impl Into<String>) -> Self {
        let found = if found.is_some() { describe(found) } else { "missing".to_owned() };
        Self::Member { place: place.into(), found, expected: expected.into() }
    }
}
