//! Why a sequence was not saved, or not restored.

use std::io;
use std::path::{Path, PathBuf};

use bevy_ecs::entity::Entity;

use crate::sampling::InvalidSampling;
use crate::world::fingerprint::Fingerprint;

/// Why a sequence was not saved, or not restored. No world has changed but by the end of the step that it was in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The operating system would not let us.
    #[error("{path}: cannot {doing}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// What is to be saved is none.
    #[error("{0} is no sequence: expected an entity with tokens")]
    NoSuchSequence(Entity),
    /// It is to become a copy of another, and is none yet.
    #[error("{sequence} waits to become a fork of {original}: expected one that has begun")]
    Forks {
        /// What was to be saved.
        sequence: Entity,
        /// What it is to be a copy of.
        original: Entity,
    },
    /// The sequence was never on a model, and there is none, or more than one.
    #[error("{0} names no model, and there is not exactly one: expected `SpeaksWith` beside the prompt")]
    NoModel(Entity),
    /// What it is to be restored on is none.
    #[error("{0} is no model: expected the entity that loading returned")]
    NoSuchModel(Entity),
    /// It is of another.
    #[error("a snapshot of the model {snapshot}: expected one of {model}")]
    OtherModel {
        /// What the sequence ran on.
        snapshot: Fingerprint,
        /// What it was to be restored on.
        model: Fingerprint,
    },
    /// Its keys and values are not kept as the model keeps them.
    #[error("a snapshot with keys and values in {snapshot}: expected {model}, as the model keeps them, or tokens only")]
    OtherCacheType {
        /// What they are in the snapshot.
        snapshot: &'static str,
        /// What they are in the model.
        model: &'static str,
    },
    /// It begins otherwise than a snapshot does.
    #[error("not a snapshot: expected it to begin with LOQUSNAP")]
    NotASnapshot,
    /// It is in another version of the format.
    #[error("a snapshot of version {found}: expected {expected}")]
    Version {
        /// The file's.
        found: u32,
        /// That which is read here.
        expected: u32,
    },
    /// Its header is longer than any.
    #[error("a header of {found} bytes: expected at most {limit}")]
    HeaderTooLong {
        /// What it has, or says.
        found: u64,
        /// The most there may be.
        limit: u64,
    },
    /// Its end is missing.
    #[error("a snapshot of {expected} bytes by its own word: expected all of them, found {found}")]
    Truncated {
        /// What its beginning says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// Something follows it.
    #[error("a snapshot of {expected} bytes by its own word: expected nothing after them, found {found} in all")]
    TrailingBytes {
        /// What its beginning says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// It is not what was written.
    #[error("the checksum is another: expected the bytes as they were written")]
    Checksum,
    /// Its header cannot be read.
    #[error("the header is not that of a snapshot: {0}")]
    Header(serde_json::Error),
    /// Something in its header cannot be.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// Its path in the header.
        field: &'static str,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// How it picks cannot be.
    #[error("sequence.sampler: {0}")]
    Sampling(#[from] InvalidSampling),
    /// The device that has the caches fails.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Device(#[from] crate::gpu::DeviceError),
}

impl SnapshotError {
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    pub(super) fn field(field: &'static str, expected: impl Into<String>, found: impl ToString) -> Self {
        Self::Field { field, expected: expected.into(), found: found.to_string() }
    }
}
