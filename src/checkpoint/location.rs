//! What a caller named: a directory, or a file that is a whole checkpoint by itself.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::error::{CheckpointError, Faults};
use super::gguf::{self, Gguf};
use super::source::Source;

/// A checkpoint's place that was looked at.
pub(super) enum Location<'a> {
    Files(Source<'a>),
    Gguf(Box<Gguf>),
}

impl<'a> Location<'a> {
    /// A directory, or a GGUF file whose header is read; what is wrong with single tensors of it is told to `faults`.
    pub(super) fn open(path: &'a Path, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        if !is_file(path) {
            return Source::existing(path).map(Self::Files);
        }
        let (directory, name) = gguf_file(path)?;
        Gguf::open(directory, name, faults).map(|gguf| Self::Gguf(Box::new(gguf)))
    }

    /// Files in memory, among which a GGUF file without a configuration beside it is the checkpoint.
    pub(super) fn in_memory(name: &'a str, files: &'a [(&'a str, Bytes)]) -> Result<Self, CheckpointError> {
        let source = Source::Embedded { name, files };
        let is_gguf = |name: &&str| Path::new(name).extension() == Some(OsStr::new(gguf::EXTENSION));
        let first = files.iter().map(|(name, _)| *name).filter(is_gguf).min();
        match first.filter(|_| !source.has(super::directory::CONFIG)) {
            Some(file) => Gguf::open(source, file, &mut Err).map(|gguf| Self::Gguf(Box::new(gguf))),
            None => Ok(Self::Files(source)),
        }
    }

    pub(super) fn source(&self) -> Source<'_> {
        match self {
            Self::Files(source) => *source,
            Self::Gguf(gguf) => Source::Gguf(gguf),
        }
    }
}

/// The directory and the name of a file, if it begins as GGUF files do.
pub(super) fn gguf_file(path: &Path) -> Result<(Source<'_>, &str), CheckpointError> {
    let directory = Source::Directory(path.parent().unwrap_or(Path::new("")));
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return Err(CheckpointError::file(path, "a file whose name is UTF-8", "another name"));
    };
    let expected = "a checkpoint's directory or a GGUF file";
    let Some(bytes) = directory.map(name)? else {
        return Err(CheckpointError::file(path, expected, "no such file"));
    };
    match gguf::other_kind(&bytes) {
        Some(kind) => Err(CheckpointError::file(path, expected, kind)),
        None => Ok((directory, name)),
    }
}

/// What a GGUF file says in place of the files with these names, as far as it does; `None` of a directory.
pub(crate) fn texts_in_gguf<'a>(
    path: &Path,
    names: &[&'a str],
) -> Result<Option<Vec<(&'a str, String)>>, CheckpointError> {
    let Location::Gguf(gguf) = Location::open(path, &mut Err)? else { return Ok(None) };
    let mut texts = Vec::new();
    for &name in names {
        texts.extend(gguf.text(name)?.map(|text| (name, text)));
    }
    Ok(Some(texts))
}

/// Whether there is a regular file, whatever is in it.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
