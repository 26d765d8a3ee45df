//! All tensors of a checkpoint, in whichever form its files have them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::config::ModelConfig;
use super::converted;
use super::error::{CheckpointError, Faults};
use super::gguf;
use super::huggingface::{self, Shards};
use super::names::TensorNames;
use super::source::Source;
use super::stacked::{self, Part};
use super::tensor::Tensor;

/// A tensor in one of the forms that checkpoints have.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    InShard(huggingface::Entry),
    Converted(converted::Entry),
    InGguf(gguf::Entry),
}

impl Entry {
    /// The file it lies in.
    pub(super) fn file(&self) -> &Path {
        match self {
            Self::InShard(entry) => &entry.file,
            Self::Converted(entry) => &entry.place.path,
            Self::InGguf(entry) => entry.file(),
        }
    }

    /// The tensor as it is stored. Nobody has looked at its values.
    pub(super) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        match self {
            Self::InShard(entry) => entry.unchecked(),
            Self::Converted(entry) => entry.unchecked(),
            Self::InGguf(entry) => entry.unchecked(),
        }
    }

    /// The tensor, if it has the `shape` it must have, and only sound values.
    pub(super) fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        match self {
            Self::InShard(entry) => entry.tensor(shape),
            Self::Converted(entry) => entry.tensor(shape),
            Self::InGguf(entry) => entry.tensor(shape),
        }
    }
}

impl Entry {
    /// A part of it, if it can have such a part.
    fn part(&self, part: &Part) -> Result<Self, CheckpointError> {
        let shape = self.shape();
        let located = stacked::locate(part, shape);
        let (shape, first) = located.map_err(|expected| {
            CheckpointError::tensor(self.file(), self.name(), expected, format!("shape {shape:?}"))
        })?;
        match self {
            Self::InShard(entry) => entry.part(part.expert, &shape, first).map(Self::InShard),
            Self::InGguf(entry) => entry.part(part.expert, &shape, first).map(Self::InGguf),
            Self::Converted(entry) => {
                let expected = "a matrix of each expert, as converted checkpoints have them";
                Err(CheckpointError::tensor(&entry.place.path, &entry.name, expected, "one of all"))
            }
        }
    }

    /// The dimensions, outermost first.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::InShard(entry) => &entry.shape,
            Self::Converted(entry) => &entry.shape,
            Self::InGguf(entry) => entry.shape(),
        }
    }

    /// As its file calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::InShard(entry) => &entry.name,
            Self::Converted(entry) => &entry.name,
            Self::InGguf(entry) => entry.name(),
        }
    }
}

/// Finds the tensor with this full name, or the tensor that it is a part of, as far as `config` tells. Returns the name of what
/// was found as well.
pub(super) fn find(
    tensors: &BTreeMap<String, Entry>,
    full: &str,
    config: Option<&ModelConfig>,
) -> Option<(String, Result<Entry, CheckpointError>)> {
    if let Some(entry) = tensors.get(full) {
        return Some((full.to_owned(), Ok(entry.clone())));
    }
    let experts = config?.moe.as_ref()?.num_experts;
    let part = stacked::parts_for(full, experts).find(|part| tensors.contains_key(&part.tensor))?;
    let found = tensors[&part.tensor].part(&part);
    Some((part.tensor, found))
}

/// All tensors of a checkpoint by full name.
#[derive(Debug)]
pub(super) struct Found {
    /// The file that says which there are.
    pub(super) file: PathBuf,
    pub(super) tensors: BTreeMap<String, Entry>,
    /// Those of which nothing is known, because the files they should be in could not be read.
    pub(super) unread: BTreeSet<String>,
    /// Whether there may be more of those, with names that nobody knows.
    pub(super) is_partial: bool,
    /// Whose names tensors have in the files, where those are not the published ones.
    pub(super) family: Option<gguf::Family>,
}

impl Found {
    /// Looks for them in all forms that checkpoints have. `rotation_seed` is the configuration's.
    pub(super) fn read(
        source: Source<'_>,
        rotation_seed: Option<u64>,
        faults: Faults<'_>,
    ) -> Result<Self, CheckpointError> {
        if let Source::Gguf(gguf) = source {
            let gguf::Tensors { tensors, unread, is_partial } = gguf.tensors(faults)?;
            let tensors = tensors.into_iter().map(|(name, entry)| (name, Entry::InGguf(entry))).collect();
            let family = Some(gguf.family());
            return Ok(Self { file: gguf.file().into(), tensors, unread, is_partial, family });
        }
        let Some(entries) = converted::read(source, rotation_seed, faults)? else {
            let Shards { file, tensors, unread } = huggingface::read(source, faults)?;
            let tensors = tensors.into_iter().map(|(name, entry)| (name, Entry::InShard(entry))).collect();
            return Ok(Self { file, tensors, unread, is_partial: false, family: None });
        };
        let file = source.path(converted::INDEX);
        for other in [huggingface::SINGLE, huggingface::INDEX] {
            if source.has(other) {
                let found = format!("{other} as well: which are meant?");
                let expected = "no other weights beside the converted ones";
                faults(CheckpointError::file(&file, expected, found))?;
            }
        }
        let tensors = entries.into_iter().map(|entry| (entry.name.clone(), Entry::Converted(entry))).collect();
        Ok(Self { file, tensors, unread: BTreeSet::new(), is_partial: false, family: None })
    }

    /// What they are called, if they are those of `config`'s model.
    pub(super) fn names(&self, config: &ModelConfig, faults: Faults<'_>) -> Result<TensorNames, CheckpointError> {
        let names = self.tensors.keys().map(String::as_str);
        let names = TensorNames::find(&self.file, config.layout, config.tie_word_embeddings, names, faults)?;
        Ok(names.of_family(self.family, config.layer_types.len()))
    }
}

pub(super) fn no_such_tensor(file: &Path, full: &str, shape: &[usize]) -> CheckpointError {
    CheckpointError::tensor(file, full, format!("shape {shape:?}"), "no such tensor")
}
