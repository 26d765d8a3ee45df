//! What a rotated directory's index says of how well the rotation turned out: nobody has measured it, or a comparison of
//! perplexities was passed or not.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::index;
use crate::checkpoint::directory::existing;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, parse, to_text};

const FIELD: &str = "promotion";

/// The states that other programs know: they call a file malformed that has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promotion {
    /// Nobody has compared it yet.
    Unpromoted,
    /// Its perplexity is as near to another model's as was asked for.
    Promoted,
    /// It is not.
    Rejected,
}

impl Promotion {
    /// The word for it in a file.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Unpromoted => "unpromoted",
            Self::Promoted => "promoted",
            Self::Rejected => "rejected",
        }
    }

    /// Writes this, and why, into the index of a rotated directory. The file is replaced as a whole.
    ///
    /// # Errors
    /// As [`Promotion::check`], or if the index cannot be replaced.
    pub fn record(self, directory: &Path, reason: &str) -> Result<(), CheckpointError> {
        let (path, mut index) = read(directory)?;
        match index.get_mut(FIELD) {
            Some(Value::Object(promotion)) => self.write(promotion, reason),
            _ => index[FIELD] = self.field(reason),
        }
        replace(&path, &to_text(&index, true))
    }

    /// Refuses a directory that this cannot be recorded in.
    ///
    /// # Errors
    /// If it has no index, or one of tensors that were not rotated.
    pub fn check(directory: &Path) -> Result<(), CheckpointError> {
        read(directory).map(drop)
    }

    /// The value of the index's field.
    pub(super) fn field(self, reason: &str) -> Value {
        let mut promotion = Map::new();
        self.write(&mut promotion, reason);
        Value::Object(promotion)
    }

    fn write(self, promotion: &mut Map<String, Value>, reason: &str) {
        promotion.insert("state".into(), json!(self.state()));
        promotion.insert("reason".into(), json!(reason));
    }
}

/// Says what the index has, which is nothing to go by, but should be readable.
pub(super) fn tell(root: Fields<'_>, seed: u64) -> Result<(), CheckpointError> {
    if let Some(promotion) = root.object(FIELD)? {
        let (state, reason) = (promotion.text("state")?, promotion.text("reason")?);
        tracing::debug!("rotated with seed {seed}: {}, {}", state.unwrap_or("-"), reason.unwrap_or("-"));
    }
    Ok(())
}

/// The index of a rotated directory.
fn read(directory: &Path) -> Result<(PathBuf, Value), CheckpointError> {
    let source = existing(directory)?;
    let path = source.path(index::FILE);
    let Some(text) = source.text(index::FILE, index::LARGEST)? else {
        return Err(CheckpointError::file(&path, "the index of a rotated directory", "no such file"));
    };
    let index = parse(&path, &text)?;
    if index.is_array() {
        let found = "an array, as for tensors that were not rotated";
        return Err(CheckpointError::file(&path, "the index of a rotated directory", found));
    }
    index::seed(Fields::of(&path, &index)?)?;
    Ok((path, index))
}

/// Puts `text` in the file's place in one step: whoever reads it finds the one or the other.
fn replace(path: &Path, text: &str) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Io { file: path.into(), action: "replace", source };
    let write = || {
        // A link stays one.
        let file = fs::canonicalize(path)?;
        let mut new = NamedTempFile::with_prefix_in(".quantize_index-", file.parent().unwrap_or(Path::new(".")))?;
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&file)?;
        Ok(())
    };
    write().map_err(failed)
}
