//! A conversion that was checked and has not begun.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::error::ConvertError;
use super::files;
use super::model::Model;
use super::options::{ConvertOptions, Method};
use super::output;
use super::pipeline;
use super::probe::Probe;
use super::progress::{ConvertProgress, Meter};
use super::quarot;
use super::report::ConvertReport;
use super::texts::Texts;
use crate::checkpoint::{Checkpoint, CheckpointError, INDEX};

/// A conversion that was checked and has not begun: nothing is written yet.
#[derive(Debug)]
pub struct Conversion {
    options: ConvertOptions,
    model: Model,
    /// What a changed model is compared with before anything is written.
    probe: Option<Probe>,
    /// Files with a content of their own.
    written: Vec<(&'static str, String)>,
    copied: Vec<(&'static str, PathBuf)>,
    destination: Destination,
}

impl Conversion {
    /// Checks that `source`, a directory or a GGUF file, is a checkpoint with every tensor that its configuration promises,
    /// and that the directory `destination` can be made: its parent is there, and it is not, or is empty, or may be replaced.
    ///
    /// # Errors
    /// Whatever can be known to be wrong before a weight is looked at.
    pub fn plan(source: &Path, destination: &Path, options: ConvertOptions) -> Result<Self, ConvertError> {
        let index = source.join(INDEX);
        if fs::symlink_metadata(&index).is_ok() {
            return Err(ConvertError::AlreadyConverted { index });
        }
        let texts = Texts::of(source)?;
        let mut checkpoint = Checkpoint::open_weights(source)?;
        refuse_tiles(&checkpoint, source)?;
        let stored = Model::stored(&mut checkpoint)?;
        let (model, probe, config) = match options.method {
            Method::Q4 => {
                checkpoint.warn_of_left_over();
                let untied = checkpoint.head_was_untied().then(|| texts.untied_config(None)).transpose()?;
                (stored, None, untied)
            }
            Method::QuaRot(quarot) => {
                if stored.config.mtp {
                    tracing::warn!(
                        "the head that predicts several tokens is left out: it cannot read a rotated model's states"
                    );
                }
                let rotated = quarot::rotated(&stored, &checkpoint, source, quarot)?;
                let config = texts.untied_config(Some(quarot.seed))?;
                let probe = Probe { directory: source.into(), original: stored, tolerance: quarot.tolerance };
                (rotated, Some(probe), Some(config))
            }
        };
        files::refuse_shared(model.tensors.iter().map(|tensor| (&*tensor.name, tensor.format())))?;
        let mut written = vec![(INDEX, files::index(&model.tensors, options.method))];
        written.extend(config.map(|text| (files::CONFIG, text)));
        let (copied, written) = texts.beside(written)?;
        let read =
            model.tensors.iter().map(|tensor| tensor.stored.file()).chain(copied.iter().map(|(_, path)| &**path));
        let destination = Destination::check(source, read, destination, options.replace)?;
        Ok(Self { options, model, probe, written, copied, destination })
    }

    /// What would be written, tensor by tensor.
    #[must_use]
    pub fn report(&self) -> ConvertReport {
        ConvertReport { tensors: self.model.reports(), logit_difference: None }
    }

    /// Converts on the threads of the current rayon pool. `progress` is told how far it is, many times a second, and may
    /// stop it.
    ///
    /// # Errors
    /// A rotated model that does not compute what the original does, a weight that the new form cannot hold, a file that
    /// cannot be read or written, a destination that has changed since it was checked, or [`ConvertError::Stopped`].
    /// What was written is then removed.
    pub fn run(
        self,
        progress: impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send,
    ) -> Result<ConvertReport, ConvertError> {
        let to_convert: u64 = self.model.tensors.iter().map(|tensor| tensor.stored.size() as u64).sum();
        let to_check = self.probe.as_ref().map_or(0, |probe| probe.bytes(&self.model));
        let meter = Meter::new(to_convert + to_check, progress);
        let mut report = self.report();
        if let Some(probe) = &self.probe {
            report.logit_difference = Some(probe.run(&self.model, &meter)?);
        }
        let staging = self.destination.stage()?;
        let deviations = pipeline::run(&self.model.tensors, self.options, staging.path(), &meter)?;
        for (file, path) in &self.copied {
            // The content only: a file that none may write would make a directory that none can replace.
            let mut from = File::open(path).map_err(ConvertError::io(path, "open"))?;
            write(&staging.path().join(file), &mut from)?;
        }
        for (file, text) in &self.written {
            write(&staging.path().join(file), &mut text.as_bytes())?;
        }
        staging.commit()?;
        for (tensor, deviation) in report.tensors.iter_mut().zip(deviations) {
            tensor.deviation = Some(deviation);
        }
        Ok(report)
    }
}

/// Refuses value heads in an order that no directory has.
fn refuse_tiles(checkpoint: &Checkpoint, source: &Path) -> Result<(), CheckpointError> {
    if checkpoint.config.delta_net.as_ref().is_none_or(|net| !net.tiled_value_heads) {
        return Ok(());
    }
    Err(CheckpointError::File {
        file: source.into(),
        expected: "value heads whose published order can be put back".into(),
        found: "heads that are parts of blocks, in ssm_out (convert another file, or the published checkpoint)".into(),
    })
}

/// Writes a new file that is on the disk when this returns.
fn write(path: &Path, content: &mut impl io::Read) -> Result<(), ConvertError> {
    let mut file = File::create_new(path).map_err(ConvertError::io(path, "create"))?;
    io::copy(content, &mut file).map_err(ConvertError::io(path, "write"))?;
    output::flush(path, &file)
}
