//! What can be wrong with a download.

#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;

/// Why a model was not fetched. What had come by then stays in the cache, for the next try to go on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The hub wants to know who asks, or has not given them leave.
    #[error(
        "{wanted}: expected leave to read it, found {status}{says}: the repository is gated, private or not there; accept its licence on {page} and set HF_TOKEN to a token of yours"
    )]
    Denied {
        /// The repository and the file.
        wanted: String,
        /// 401 or 403.
        status: u16,
        /// The server's own words.
        says: String,
        /// Where leave is asked for.
        page: String,
    },
    /// It is not there: the repository, the revision, or a file.
    #[error("{wanted}: no such {what} on {endpoint}{says}")]
    Missing {
        /// The repository and the file.
        wanted: String,
        /// `repository`, `revision` or `file`.
        what: &'static str,
        /// The server.
        endpoint: String,
        /// The server's own words.
        says: String,
    },
    /// No connection, or one that broke off.
    #[error("{wanted}: no answer from {host}")]
    Connection {
        /// The repository and the file.
        wanted: String,
        /// Who was asked.
        host: String,
        /// What came instead of one.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered with something else than what was asked for.
    #[error("{wanted}: expected {expected}, found {found}")]
    Answer {
        /// The repository and the file.
        wanted: String,
        /// What would have been right.
        expected: String,
        /// What came.
        found: String,
        /// Whether another try may have another answer.
        may_pass: bool,
    },
    /// A setting of the environment.
    #[error("{name}: expected {expected}, found {found}")]
    Setting {
        /// The variable, or the file.
        name: String,
        /// What would have been right.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The operating system would not let us.
    #[error("{wanted}: cannot {action} {file}", file = file.display())]
    Io {
        /// The repository and the file.
        wanted: String,
        /// The file or folder in the cache.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// What has come so far is no model that could be opened; no weights were fetched for it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The caller wanted no more.
    #[error("{wanted}: interrupted; the next try goes on from here")]
    Interrupted {
        /// The repository and the file.
        wanted: String,
    },
}

impl HubError {
    pub(super) fn answer(wanted: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Answer { wanted: wanted.into(), expected: expected.into(), found: found.into(), may_pass: false }
    }

    /// Whether another try may succeed.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Answer { may_pass: true, .. })
    }
}
