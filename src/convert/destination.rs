//! Where a converted directory goes, and how it gets there whole: it is made under another name beside its place and
//! renamed at the end.
//!
//! That name is `.NAME.partial-` and six letters or digits. A file in it is locked for as long as the process lives that
//! makes it, so that what a killed one left can be told from what another is at work on. A directory that is replaced is
//! put aside as `.NAME.partial-XXXXXX.old` for a moment.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::ConvertError;

const LOCK: &str = ".lock";
const OLD: &str = ".old";
/// Letters and digits at the end of a temporary name.
const RANDOM: usize = 6;

/// A destination that was checked.
#[derive(Debug)]
pub(super) struct Destination {
    /// As it was given, for messages.
    given: PathBuf,
    /// Without links.
    path: PathBuf,
    parent: PathBuf,
    /// What temporary names beside it begin with.
    prefix: OsString,
    replace: bool,
}

impl Destination {
    /// Checks that a directory can be made at `destination`, and that nothing of the source is in its way: neither the
    /// directory `source` nor the files `read` from, which may be links.
    pub(super) fn check<'a>(
        source: &Path,
        read: impl Iterator<Item = &'a Path>,
        destination: &Path,
        replace: bool,
    ) -> Result<Self, ConvertError> {
        let path = resolve(destination)?;
        let refuse = |expected: &str, found: String| Err(refusal(destination, expected, found));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return refuse("a directory that has a name", "the root".into());
        };
        let real = |path: &Path| fs::canonicalize(path).map_err(ConvertError::io(path, "open"));
        let from = real(source)?;
        if path == from {
            return refuse("another directory than the source", format!("{} itself", source.display()));
        }
        if path.starts_with(&from) {
            return refuse("a directory outside of the source", format!("it inside of {}", source.display()));
        }
        if from.starts_with(&path) {
            return refuse("a directory that does not hold the source", format!("{} in it", source.display()));
        }
        for file in read {
            if real(file)?.starts_with(&path) {
                let found = format!("what {} links to in it", file.display());
                return refuse("a directory that holds no file of the source", found);
            }
        }
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".partial-");
        let checked = Self { given: destination.to_owned(), parent: parent.to_owned(), prefix, replace, path };
        checked.content()?;
        Ok(checked)
    }

    /// An entry of the directory that is there and may be replaced, `None` if it is empty or not there.
    fn content(&self) -> Result<Option<OsString>, ConvertError> {
        let mut entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(refusal(&self.given, "a directory, or nothing", "a file".into()));
            }
            Err(error) => return Err(ConvertError::io(&self.given, "open")(error)),
        };
        let Some(entry) = entries.next() else { return Ok(None) };
        let name = entry.map_err(ConvertError::io(&self.given, "read"))?.file_name();
        if !self.replace {
            let found = format!("{} in it", name.display());
            return Err(refusal(&self.given, "nothing or an empty directory, or --force to replace it", found));
        }
        Ok(Some(name))
    }

    /// Makes the directory that is to become the destination.
    pub(super) fn stage(&self) -> Result<Staging<'_>, ConvertError> {
        self.clear_leftovers()?;
        self.content()?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(&self.prefix).rand_bytes(RANDOM);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Those of an ordinary new directory, as far as the process's mask allows.
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let directory = builder.tempdir_in(&self.parent).map_err(ConvertError::io(&self.parent, "write in"))?;
        let lock = directory.path().join(LOCK);
        let held = File::create_new(&lock).map_err(ConvertError::io(&lock, "create"))?;
        // Where files cannot be locked, leftovers cannot be told from work in hand, and stay.
        drop(held.try_lock());
        Ok(Staging { destination: self, directory, _lock: held })
    }

    /// Removes what runs that were killed have left, and puts back what they had put aside.
    fn clear_leftovers(&self) -> Result<(), ConvertError> {
        let entries = fs::read_dir(&self.parent).map_err(ConvertError::io(&self.parent, "open"))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            match self.leftover(&entry.file_name()) {
                Some(Leftover::Partial) if is_abandoned(&path) => remove(&path),
                Some(Leftover::Old) if fs::symlink_metadata(&self.path).is_ok() => remove(&path),
                Some(Leftover::Old) => {
                    tracing::warn!("{}: put back what a killed run was replacing", self.given.display());
                    fs::rename(&path, &self.path).map_err(ConvertError::io(&path, "put back"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn leftover(&self, name: &OsStr) -> Option<Leftover> {
        let rest = name.as_encoded_bytes().strip_prefix(self.prefix.as_encoded_bytes())?;
        let (random, end) = rest.split_at_checked(RANDOM)?;
        match end {
            _ if !random.iter().all(u8::is_ascii_alphanumeric) => None,
            b"" => Some(Leftover::Partial),
            end if end == OLD.as_bytes() => Some(Leftover::Old),
            _ => None,
        }
    }
}

enum Leftover {
    /// A directory that was being made.
    Partial,
    /// One that was being replaced.
    Old,
}

/// Whether nobody is at work in a partial directory. One without a lock may have been made this moment.
fn is_abandoned(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Removes a directory that nobody needs; that it stays is no reason to fail.
fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!("{}: cannot remove: {error}", directory.display());
    }
}

/// A directory in the making, removed when it is dropped.
pub(super) struct Staging<'a> {
    destination: &'a Destination,
    directory: TempDir,
    _lock: File,
}

impl Staging<'_> {
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts the directory in its place. What was there goes last.
    pub(super) fn commit(self) -> Result<(), ConvertError> {
        let Destination { given, path, .. } = self.destination;
        let lock = self.path().join(LOCK);
        fs::remove_file(&lock).map_err(ConvertError::io(&lock, "remove"))?;
        let failed = ConvertError::io(given, "put the new directory in place");
        if self.destination.content()?.is_none() {
            // An empty directory gives way to another; one that has been filled meanwhile does not.
            fs::rename(self.path(), path).map_err(failed)?;
        } else {
            let mut old = self.path().as_os_str().to_owned();
            old.push(OLD);
            let old = PathBuf::from(old);
            fs::rename(path, &old).map_err(ConvertError::io(given, "put aside"))?;
            if let Err(error) = fs::rename(self.path(), path) {
                fs::rename(&old, path).map_err(ConvertError::io(&old, "put back"))?;
                return Err(failed(error));
            }
            remove(&old);
        }
        // It has another name now: there is nothing to remove.
        let _ = self.directory.keep();
        Ok(())
    }
}

/// The path without links, whether or not there is anything at its end.
fn resolve(destination: &Path) -> Result<PathBuf, ConvertError> {
    match fs::canonicalize(destination) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        resolved => return resolved.map_err(ConvertError::io(destination, "open")),
    }
    if fs::symlink_metadata(destination).is_ok() {
        return Err(refusal(destination, "a directory, or nothing", "a link that leads nowhere".into()));
    }
    let Some(name) = destination.file_name() else {
        return Err(refusal(destination, "a directory that has a name", "none".into()));
    };
    let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::canonicalize(parent) {
        Ok(parent) if parent.is_dir() => Ok(parent.join(name)),
        Ok(_) => Err(refusal(destination, "a path in a directory", format!("the file {}", parent.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(refusal(destination, "a path in a directory that is there", format!("no {}", parent.display())))
        }
        Err(error) => Err(ConvertError::io(parent, "open")(error)),
    }
}

fn refusal(destination: &Path, expected: &str, found: String) -> ConvertError {
    ConvertError::Destination { destination: destination.to_owned(), expected: expected.into(), found }
}
