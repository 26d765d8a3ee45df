//! Where a checkpoint's files come from: a directory, bytes compiled into the program, or a GGUF file, which stands for
//! them. Refuses what is no regular, non-empty file before it opens it, and reads no more than a limit. The only place that
//! maps files.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;

use super::error::CheckpointError;
use super::gguf::Gguf;

/// How every Git LFS pointer begins: what a clone without LFS leaves in a large file's place.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A set of files by name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// A directory on disk.
    Directory(&'a Path),
    /// Files in the program itself; `name` stands for their directory in messages.
    Embedded {
        /// What messages call it.
        name: &'a str,
        /// Each file's name and content.
        files: &'a [(&'a str, Bytes)],
    },
    /// What a GGUF file says, as the texts of the files that it stands for.
    Gguf(&'a Gguf),
}

/// A file of a [`Source`] that may not be there, to be opened later.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What messages call it.
    pub(super) path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    OnDisk,
    Embedded(Option<Bytes>),
}

/// An opened file, to be mapped as often as one likes: every map is of the same file, whatever its name stands for by then.
pub(super) struct Opened<'a> {
    path: &'a Path,
    content: OpenedContent,
}

enum OpenedContent {
    OnDisk(File),
    Embedded(Bytes),
}

impl<'a> Source<'a> {
    /// The source that `directory` is, if it is a directory.
    pub(super) fn existing(directory: &'a Path) -> Result<Self, CheckpointError> {
        let metadata = fs::metadata(directory).map_err(|source| CheckpointError::Io {
            file: directory.into(),
            action: "open",
            source,
        })?;
        if !metadata.is_dir() {
            return Err(CheckpointError::file(directory, "a checkpoint's directory", "a file"));
        }
        Ok(Self::Directory(directory))
    }

    /// The path by which messages name `file`.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.join(file),
            Self::Embedded { name, .. } => Path::new(name).join(file),
            Self::Gguf(gguf) => gguf.file().join(file),
        }
    }

    /// The text of a file of at most `limit` bytes, `None` where there is no such file.
    pub(super) fn text(&self, file: &str, limit: u64) -> Result<Option<String>, CheckpointError> {
        let path = self.path(file);
        let bytes = match self {
            Self::Directory(_) => match open_regular(&path)? {
                Some((handle, length)) => read_limited(&path, handle, length, limit)?,
                None => return Ok(None),
            },
            Self::Embedded { .. } => match self.embedded(file) {
                Some(bytes) => bytes.to_vec(),
                None => return Ok(None),
            },
            Self::Gguf(gguf) => {
                let Some(text) = gguf.text(file)? else { return Ok(None) };
                if text.len() as u64 > limit {
                    return Err(too_large(&path, limit, text.len() as u64));
                }
                return Ok(Some(text));
            }
        };
        check_content(&path, &bytes)?;
        String::from_utf8(bytes).map(Some).map_err(|error| {
            let position = error.utf8_error().valid_up_to();
            CheckpointError::file(&path, "UTF-8 text", format!("an invalid byte at position {position}"))
        })
    }

    /// The bytes of a file without reading them into memory, `None` where there is no such file.
    pub(super) fn map(&self, file: &str) -> Result<Option<Bytes>, CheckpointError> {
        self.place(file).open()?.map(|opened| opened.map()).transpose()
    }

    /// Where `file` is, or would be.
    pub(super) fn place(&self, file: &str) -> Place {
        let content = match self {
            Self::Directory(_) => Content::OnDisk,
            Self::Embedded { .. } | Self::Gguf(_) => Content::Embedded(self.embedded(file).cloned()),
        };
        Place { path: self.path(file), content }
    }

    /// Whether there is something of this name, of whatever kind.
    pub(super) fn has(&self, file: &str) -> bool {
        match self {
            Self::Directory(directory) => fs::symlink_metadata(directory.join(file)).is_ok(),
            Self::Embedded { .. } | Self::Gguf(_) => self.embedded(file).is_some(),
        }
    }

    fn embedded(&self, file: &str) -> Option<&Bytes> {
        match self {
            Self::Directory(_) | Self::Gguf(_) => None,
            Self::Embedded { files, .. } => files.iter().find(|(name, _)| *name == file).map(|(_, bytes)| bytes),
        }
    }
}

impl Place {
    /// Opens the file, `None` where there is none.
    pub(super) fn open(&self) -> Result<Option<Opened<'_>>, CheckpointError> {
        let content = match &self.content {
            Content::OnDisk => open_regular(&self.path)?.map(|(file, _)| OpenedContent::OnDisk(file)),
            Content::Embedded(bytes) => bytes.clone().map(OpenedContent::Embedded),
        };
        Ok(content.map(|content| Opened { path: &self.path, content }))
    }
}

impl Opened<'_> {
    /// The file's bytes without reading them into memory.
    pub(super) fn map(&self) -> Result<Bytes, CheckpointError> {
        let bytes = match &self.content {
            OpenedContent::OnDisk(file) => map_file(self.path, file)?,
            OpenedContent::Embedded(bytes) => bytes.clone(),
        };
        check_content(self.path, &bytes)?;
        Ok(bytes)
    }
}

/// Whether `name` is that of a file in the same directory: anything that would lead out of it is not, nor is what no
/// file is called and no message could show.
pub(super) fn is_plain_name(name: &str) -> bool {
    /// No file system has longer ones.
    const LONGEST: usize = 255;
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
        && name.len() <= LONGEST
}

/// Opens what is known to be a regular file, with its length. Asks for the kind first, because opening a FIFO waits for
/// a writer that may never come.
pub(crate) fn open_regular(path: &Path) -> Result<Option<(File, u64)>, CheckpointError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // A dangling link is there, and is not what it should be.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(source) => return Err(CheckpointError::Io { file: path.into(), action: "open", source }),
    };
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a FIFO, socket or device" };
        return Err(CheckpointError::file(path, "a regular file", found));
    }
    let file = File::open(path).map_err(|source| CheckpointError::Io { file: path.into(), action: "open", source })?;
    Ok(Some((file, metadata.len())))
}

fn read_limited(path: &Path, file: File, length: u64, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::new();
    if length <= limit {
        // One byte more than allowed tells a file that grew since from one that fits.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| CheckpointError::Io {
            file: path.into(),
            action: "read",
            source,
        })?;
    }
    let found = length.max(bytes.len() as u64);
    if found > limit {
        return Err(too_large(path, limit, found));
    }
    Ok(bytes)
}

fn too_large(path: &Path, limit: u64, found: u64) -> CheckpointError {
    CheckpointError::file(path, format!("at most {limit} bytes"), format!("{found} bytes"))
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
fn map_file(path: &Path, file: &File) -> Result<Bytes, CheckpointError> {
    let length =
        file.metadata().map_err(|source| CheckpointError::Io { file: path.into(), action: "read", source })?.len();
    if length == 0 {
        // Some systems refuse to map nothing; the caller's message is better than theirs.
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only and private to us, and its bytes are only ever read as integers, for which every
    // pattern is valid. What cannot be excluded is that another process truncates the file while it is mapped: then
    // reads end the process, as for every program that maps files. Checkpoints are not written in place.
    let map = unsafe { Mmap::map(file) };
    map.map(Bytes::from_owner).map_err(|source| CheckpointError::Io { file: path.into(), action: "map", source })
}

/// Refuses what often stands in a file's place: nothing, or a Git LFS pointer.
fn check_content(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    if bytes.is_empty() {
        return Err(CheckpointError::file(path, "content", "an empty file"));
    }
    if bytes.starts_with(LFS_POINTER) {
        let found = "a Git LFS pointer (fetch the content with `git lfs pull`)";
        return Err(CheckpointError::file(path, "the file's content", found));
    }
    Ok(())
}
