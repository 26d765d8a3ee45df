//! What can be wrong with a directory, or with looking at it.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;

/// A problem of a checkpoint, or why it was not looked at to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// What loading it would refuse, or could not read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file that is not what a list of hashes says it is.
    #[error("{file}: expected the SHA-256 {expected}, as {list} says, found {found}", file = file.display(), list = list.display())]
    Checksum {
        /// The file.
        file: PathBuf,
        /// Who says what it should be.
        list: PathBuf,
        /// In lower-case hexadecimal digits.
        expected: String,
        /// Likewise.
        found: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the end")]
    Stopped,
}
