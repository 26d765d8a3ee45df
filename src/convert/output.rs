//! Writes the files of tensors, and has them reach the disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::ConvertError;
use super::model::PlannedTensor;

/// Complete files that wait for the disk before writing waits, too.
const WAITING: usize = 16;

/// One file after the other. The disk takes longer to have them all than the machine to make them, so a thread waits for
/// it while the next ones are made. If this is dropped early, nobody waits for that thread.
pub(super) struct Output<'a> {
    directory: &'a Path,
    file: Option<(PathBuf, File)>,
    complete: SyncSender<(PathBuf, File)>,
    flushing: JoinHandle<Result<(), ConvertError>>,
}

impl<'a> Output<'a> {
    pub(super) fn new(directory: &'a Path) -> Result<Self, ConvertError> {
        let (complete, files) = sync_channel::<(PathBuf, File)>(WAITING);
        let flush = move || files.into_iter().try_for_each(|(path, file)| flush(&path, &file));
        let flushing = thread::Builder::new().name("loquent-flush".into()).spawn(flush);
        let flushing = flushing.map_err(ConvertError::io(directory, "start a thread to write to"))?;
        Ok(Self { directory, file: None, complete, flushing })
    }

    /// Begins the file of `tensor`; the one before it is complete.
    pub(super) fn begin(&mut self, tensor: &PlannedTensor) -> Result<(), ConvertError> {
        self.complete();
        let format = tensor.format();
        let path = self.directory.join(format.file_name(&tensor.name));
        let file = File::create_new(&path).map_err(ConvertError::io(&path, "create"))?;
        self.file = Some((path, file));
        self.write(&format.header(tensor.stored.shape()))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(ConvertError::io(&*path, "write"))
    }

    /// Waits until the disk has all files.
    pub(super) fn finish(mut self) -> Result<(), ConvertError> {
        self.complete();
        drop(self.complete);
        self.flushing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn complete(&mut self) {
        if let Some(file) = self.file.take() {
            // Nobody takes it any more after an error, which the end will tell.
            let _ = self.complete.send(file);
        }
    }
}

/// Waits until the disk has the whole file.
pub(super) fn flush(path: &Path, file: &File) -> Result<(), ConvertError> {
    file.sync_all().map_err(ConvertError::io(path, "flush"))
}
