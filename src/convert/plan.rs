//! A conversion that was checked and has not begun.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::error::ConvertError;
use super::files;
use super::output;
use super::pipeline::{self, Progress};
use super::report::{Part, Report, TensorReport};
use crate::checkpoint::{Checkpoint, StoredTensor, open_regular};
use crate::quant::{Deviation, Encoding, Search};
use crate::world::promised::{PromisedTensor, promised_tensors};

/// What goes beside the tensors as it is; only the first must be there.
const COPIED: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

/// How to convert.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How codes are laid over the weights.
    pub encoding: Encoding,
    /// How scales are found.
    pub search: Search,
    /// Whether a destination that has content is replaced, rather than refused.
    pub replace: bool,
}

/// A conversion that was checked and has not begun: nothing is written yet.
#[derive(Debug)]
pub struct Conversion {
    pub(super) options: Options,
    pub(super) tensors: Vec<PlannedTensor>,
    copied: Vec<(&'static str, PathBuf)>,
    destination: Destination,
}

/// A tensor and what becomes of it.
#[derive(Debug)]
pub(super) struct PlannedTensor {
    pub(super) stored: StoredTensor,
    /// The name of its new file.
    pub(super) file: String,
    pub(super) quantized: bool,
    part: Part,
}

impl Conversion {
    /// Checks that the directory `source` is a checkpoint with every tensor that its configuration promises, and that
    /// the directory `destination` can be made: its parent is there, and it is not, or is empty, or may be replaced.
    ///
    /// # Errors
    /// Whatever can be known to be wrong before a weight is looked at.
    pub fn plan(source: &Path, destination: &Path, options: Options) -> Result<Self, ConvertError> {
        let index = source.join(files::INDEX);
        if fs::symlink_metadata(&index).is_ok() {
            return Err(ConvertError::AlreadyConverted { index });
        }
        let mut checkpoint = Checkpoint::open_weights(source)?;
        let promised = promised_tensors(&checkpoint.config);
        let stored = promised.iter().map(|tensor| checkpoint.find(&tensor.name, &tensor.shape));
        let stored = stored.collect::<Result<Vec<_>, _>>()?;
        checkpoint.warn_of_left_over();
        let quantized = promised.iter().map(|tensor| tensor.is_matrix);
        let names = files::file_names(stored.iter().map(StoredTensor::name).zip(quantized))?;
        let planned = |((promised, stored), file): ((&PromisedTensor, _), _)| PlannedTensor {
            stored,
            file,
            quantized: promised.is_matrix,
            part: Part::of(&promised.name),
        };
        let tensors: Vec<PlannedTensor> = promised.iter().zip(stored).zip(names).map(planned).collect();
        let mut copied = Vec::new();
        for file in COPIED {
            let path = source.join(file);
            if open_regular(&path)?.is_some() {
                copied.push((file, path));
            }
        }
        let read = tensors.iter().map(|tensor| tensor.stored.file()).chain(copied.iter().map(|(_, path)| &**path));
        let destination = Destination::check(source, read, destination, options.replace)?;
        Ok(Self { options, tensors, copied, destination })
    }

    /// What would be written, tensor by tensor.
    #[must_use]
    pub fn report(&self) -> Report {
        let row = |tensor: &PlannedTensor| {
            let stored = &tensor.stored;
            TensorReport {
                name: stored.name().to_owned(),
                part: tensor.part,
                quantized: tensor.quantized,
                elements: stored.len() as u64,
                source_bytes: stored.size() as u64,
                written_bytes: files::file_length(stored.shape(), tensor.quantized) as u64,
                deviation: None,
            }
        };
        Report { tensors: self.tensors.iter().map(row).collect() }
    }

    /// Converts on the threads of the current rayon pool. `progress` is told how far it is, many times a second, and may
    /// stop it.
    ///
    /// # Errors
    /// A weight that the new form cannot hold, a file that cannot be read or written, a destination that has changed
    /// since it was checked, or [`ConvertError::Stopped`]. What was written is then removed.
    pub fn run(self, progress: impl FnMut(Progress<'_>) -> ControlFlow<()> + Send) -> Result<Report, ConvertError> {
        let staging = self.destination.stage()?;
        let deviations: Vec<Deviation> = pipeline::run(&self, staging.path(), progress)?;
        for (file, path) in &self.copied {
            // The content only: a file that none may write would make a directory that none can replace.
            let mut from = File::open(path).map_err(ConvertError::io(path, "open"))?;
            write(&staging.path().join(file), &mut from)?;
        }
        write(&staging.path().join(files::INDEX), &mut files::index(&self.tensors).as_bytes())?;
        staging.commit()?;
        let mut report = self.report();
        for (tensor, deviation) in report.tensors.iter_mut().zip(deviations) {
            tensor.deviation = Some(deviation);
        }
        Ok(report)
    }
}

/// Writes a new file that is on the disk when this returns.
fn write(path: &Path, content: &mut impl io::Read) -> Result<(), ConvertError> {
    let mut file = File::create_new(path).map_err(ConvertError::io(path, "create"))?;
    io::copy(content, &mut file).map_err(ConvertError::io(path, "write"))?;
    output::flush(path, &file)
}
