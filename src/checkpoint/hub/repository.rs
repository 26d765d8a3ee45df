//! A repository's folder in the cache, as the hub's own programs lay it out: contents by the names that the server has for them,
//! revisions as folders of links to those, references as files that name a revision.

#![forbid(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::HubError;

pub(super) struct Repository {
    root: PathBuf,
    locks: PathBuf,
    commit: String,
}

impl Repository {
    /// The one in this folder of the cache, of which `commit` is to be fetched.
    pub(super) fn new(cache: &Path, folder: &str, commit: &str) -> Self {
        Self { root: cache.join(folder), locks: cache.join(".locks").join(folder), commit: commit.into() }
    }

    /// The folder of the revision.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.root.join("snapshots").join(&self.commit)
    }

    /// Where this content is, once it is whole.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where it is until then.
    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Waits until no other program fetches this content, and keeps others from it while the file is open. `None` where the file
    /// system knows no locks. `wait` says whether to go on.
    pub(super) fn lock(
        &self,
        wanted: &str,
        etag: &str,
        mut wait: impl FnMut() -> Result<(), HubError>,
    ) -> Result<Option<File>, HubError> {
        const PAUSE: Duration = Duration::from_millis(100);
        let path = self.locks.join(format!("{etag}.lock"));
        let lock = parent(&path).and_then(|()| File::create(&path)).map_err(io(wanted, &path, "open"))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(lock)),
                Err(TryLockError::WouldBlock) => {
                    wait()?;
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::Error(error)) => {
                    tracing::debug!("{}: no lock: {error}", path.display());
                    return Ok(None);
                }
            }
        }
    }

    /// Puts the content, which is whole, into the revision's folder as `file`.
    pub(super) fn link(&self, wanted: &str, etag: &str, file: &str) -> Result<(), HubError> {
        let path = self.snapshot().join(file);
        let blob = self.blob(etag);
        let up = "../".repeat(2 + file.matches('/').count());
        let linked = parent(&path).and_then(|()| {
            if fs::symlink_metadata(&path).is_ok() {
                // It leads nowhere, or nobody would want it.
                fs::remove_file(&path)?;
            }
            // Where there are no links, the file itself.
            symlink(Path::new(&format!("{up}blobs/{etag}")), &path).or_else(|_| fs::rename(&blob, &path))
        });
        linked.map_err(io(wanted, &path, "create"))
    }

    /// Notes that `revision` is the commit.
    pub(super) fn refer(&self, wanted: &str, revision: &str) -> Result<(), HubError> {
        if revision == self.commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        let written = parent(&path).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.root))?;
            file.write_all(self.commit.as_bytes())?;
            file.persist(&path)?;
            Ok(())
        });
        written.map_err(io(wanted, &path, "write"))
    }
}

/// Makes the folder that is to hold `path`.
pub(super) fn parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

pub(super) fn io(wanted: &str, file: &Path, action: &'static str) -> impl FnOnce(io::Error) -> HubError {
    move |source| HubError::Io { wanted: wanted.into(), file: file.into(), action, source }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
