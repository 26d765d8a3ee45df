//! What an inspection found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::InspectError;
use super::histogram::Histogram;
use super::statistics::Statistics;
use crate::checkpoint::{ElementType, MTP, ModelConfig, OtherModel, TensorEntry};
use crate::cpu::{CacheType, Footprint, LoadedWeight, Numerics};

/// What an inspection found.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectReport {
    /// The directory, or the file.
    pub directory: PathBuf,
    /// What a GGUF file says beside its tensors, each key with its value in words.
    pub metadata: Vec<(String, String)>,
    /// `None` where it was refused.
    pub config: Option<ModelConfig>,
    /// The tensors of the model in its order, the embedding and the head first; then the others by name.
    pub tensors: Vec<InspectedTensor>,
    /// The files that loading it reads, by name.
    pub files: Vec<FileReport>,
    /// Why it cannot be loaded, or is not what its hashes say.
    pub problems: Vec<InspectError>,
    /// What is wrong with it that keeps nobody from loading it.
    pub warnings: Vec<InspectError>,
    /// If they were asked for, of the weight matrices of each [kind](InspectedTensor::kind) together.
    pub histograms: BTreeMap<String, Histogram>,
    /// Whether every tensor that the configuration promises is there.
    pub(super) complete: bool,
}

/// A tensor that a file has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InspectedTensor {
    /// As its file describes it.
    pub entry: TensorEntry,
    /// What it is stored as; `None` if it cannot be read.
    pub element: Option<ElementType>,
    /// What the model has it for.
    pub purpose: Purpose,
    /// Its name in the text model; the full name of what is no part of that.
    pub name: String,
    /// If they were asked for, of the tensors of the model whose values are all finite.
    pub statistics: Option<Statistics>,
}

impl InspectedTensor {
    /// What it has in common with the tensors of other layers: its name without the layer, e.g. `mlp.up_proj`.
    #[must_use]
    pub fn kind(&self) -> &str {
        let name = self.name.strip_suffix(".weight").unwrap_or(&self.name);
        let in_layer = name.strip_prefix("layers.").and_then(|name| name.split_once('.'));
        in_layer.map_or(name, |(_, kind)| kind)
    }
}

/// What the model has a tensor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A weight matrix.
    Matrix,
    /// A small tensor that keeps its precision.
    Vector,
    /// Nothing: it belongs to a model beside the text model, which we do not run.
    Other(OtherModel),
    /// Nothing: it is the head of a model whose embedding is the head.
    TiedHead,
    /// Nothing: it has no place in the model.
    LeftOver,
    /// This cannot be known without a configuration.
    Unknown,
}

impl Purpose {
    /// Whether it is loaded; of the head that predicts several tokens, where that is wanted.
    #[must_use]
    pub fn is_used(self) -> bool {
        matches!(self, Self::Matrix | Self::Vector)
    }
}

/// A file that was read from its first byte to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// In lower-case hexadecimal digits; `None` if it could not be read to the end.
    pub sha256: Option<String>,
    /// The lists that have this hash for it.
    pub confirmed_by: Vec<PathBuf>,
}

impl InspectReport {
    /// The memory it takes on the CPU with a sequence of `context` tokens, whose keys and values are kept as `cache_type` says,
    /// or as they are where nobody says; `None` if it has not all its tensors.
    #[must_use]
    pub fn footprint(&self, numerics: Numerics, cache_type: Option<CacheType>, context: usize) -> Option<Footprint> {
        Some(Footprint::of(self.whole_config()?, self.weights(), numerics, cache_type, context))
    }

    /// The memory it takes on a GPU with a sequence of `context` tokens; `None` if it has not all its tensors.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_footprint(&self, context: usize) -> Option<crate::gpu::Footprint> {
        Some(crate::gpu::Footprint::of(self.whole_config()?, self.weights(), context))
    }

    fn whole_config(&self) -> Option<&ModelConfig> {
        self.config.as_ref().filter(|_| self.complete)
    }

    fn weights(&self) -> impl Iterator<Item = LoadedWeight<'_>> {
        self.tensors.iter().filter(|tensor| tensor.purpose.is_used()).filter_map(|tensor| {
            let is_matrix = tensor.purpose == Purpose::Matrix;
            let is_of_mtp = tensor.name.starts_with(MTP);
            Some(LoadedWeight { element: tensor.element?, shape: &tensor.entry.shape, is_matrix, is_of_mtp })
        })
    }
}
