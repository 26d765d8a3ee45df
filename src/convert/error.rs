//! Why a checkpoint was not converted.

use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::quant::QuantError;

/// Why a checkpoint was not converted. The destination is then as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source is no checkpoint, or not all that its configuration promises.
    #[error(transparent)]
    Source(#[from] CheckpointError),
    /// The source is a converted directory itself.
    #[error("{index}: expected no such file in a checkpoint to convert, found the index of a converted one", index = index.display())]
    AlreadyConverted {
        /// Its index.
        index: PathBuf,
    },
    /// The destination is not where a directory can be made.
    #[error("{destination}: expected {expected}, found {found}", destination = destination.display())]
    Destination {
        /// The destination.
        destination: PathBuf,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Two tensors whose files would have the same name.
    #[error("{file}: expected a file for each tensor, found {first:?} and {second:?} to share it")]
    SharedFile {
        /// The file's name.
        file: String,
        /// A tensor.
        first: String,
        /// Another one.
        second: String,
    },
    /// A weight or a block of weights that the new form cannot hold.
    #[error("{file}: tensor {tensor:?}: {reason}", file = file.display())]
    Weights {
        /// The source's file.
        file: PathBuf,
        /// The tensor's full name.
        tensor: String,
        /// Which weight or block, and why.
        reason: QuantError,
    },
    /// An element that half precision cannot hold.
    #[error("{file}: tensor {tensor:?}: expected elements that fit half precision, found {value} at element {index}", file = file.display())]
    Half {
        /// The source's file.
        file: PathBuf,
        /// The tensor's full name.
        tensor: String,
        /// The element's flat index.
        index: usize,
        /// The element.
        value: f32,
    },
    /// A rotated model that does not compute what the original does.
    #[error(
        "{directory}: expected logits of the rotated model within {tolerance:e} of the original's, found {difference:e}",
        directory = directory.display()
    )]
    LogitsDiffer {
        /// The source.
        directory: PathBuf,
        /// By how much a logit differs at most, in double precision.
        difference: f64,
        /// By how much it may.
        tolerance: f64,
    },
    /// The operating system would not let us.
    #[error("{path}: cannot {action}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("stopped before the end: nothing was written")]
    Stopped,
}

impl ConvertError {
    pub(super) fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}
