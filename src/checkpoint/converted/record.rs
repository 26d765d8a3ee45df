//! Writes down, in the index of a rotated directory, how a comparison of it turned out.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::index;
use super::promotion::{FIELD, Promotion};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, parse, to_text};
use crate::checkpoint::source::Source;

impl Promotion {
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
}

/// The index of a rotated directory.
fn read(directory: &Path) -> Result<(PathBuf, Value), CheckpointError> {
    let source = Source::existing(directory)?;
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
