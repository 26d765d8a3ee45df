//! Files, which appear whole or not at all.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;

use super::envelope::{self, PREFIX};
use super::{Snapshot, SnapshotError};

impl Snapshot {
    /// Writes it to a file. It is written under another name in the same directory and renamed once it is on the disk: what was
    /// there before stays until then.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SnapshotError> {
        let path = path.as_ref();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |doing| SnapshotError::io(path, doing);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".snapshot.partial-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Those of an ordinary new file, as far as the process's mask allows.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(directory).map_err(failed("write in its directory"))?;
        file.write_all(&self.bytes).map_err(failed("write"))?;
        file.as_file().sync_all().map_err(failed("write"))?;
        file.persist(path).map_err(|error| failed("put the new file in place")(error.error))?;
        Ok(())
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it cannot be read, or the first thing that is wrong with it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SnapshotError> {
        let path = path.as_ref();
        let failed = |doing| SnapshotError::io(path, doing);
        let mut file = File::open(path).map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("open"))?.len();
        let mut start = Vec::new();
        (&mut file).take(PREFIX as u64).read_to_end(&mut start).map_err(failed("read"))?;
        // A length that the file does not have is refused before there is memory for it.
        envelope::check(&start, length)?;
        file.rewind().map_err(failed("read"))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed("read"))?;
        Self::parse(Bytes::from(bytes))
    }
}
