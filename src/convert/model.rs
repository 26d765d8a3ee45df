//! A model as a list of tensors, each with what it is made of.

use super::change::Change;
use super::error::ConvertError;
use super::files;
use super::report::{Part, TensorReport};
use crate::checkpoint::{Checkpoint, ModelConfig, StoredTensor};
use crate::world::promised::{PromisedTensor, promised_tensors};

/// All tensors that a configuration promises, in the order of the model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) tensors: Vec<PlannedTensor>,
}

/// A tensor and what it is made of.
#[derive(Debug)]
pub(super) struct PlannedTensor {
    pub(super) promised: PromisedTensor,
    /// Its full name.
    pub(super) name: String,
    /// What it is made of.
    pub(super) stored: StoredTensor,
    pub(super) change: Change,
}

impl Model {
    /// The model as it is stored.
    pub(super) fn stored(checkpoint: &mut Checkpoint) -> Result<Self, ConvertError> {
        let config = checkpoint.config.clone();
        let mut tensors = Vec::new();
        for promised in promised_tensors(&config) {
            let stored = checkpoint.find(&promised.name, &promised.shape)?;
            tensors.push(PlannedTensor::new(&config, promised, stored, Change::Keep));
        }
        Ok(Self { config, tensors })
    }
}

impl PlannedTensor {
    pub(super) fn new(config: &ModelConfig, promised: PromisedTensor, stored: StoredTensor, change: Change) -> Self {
        Self { name: config.layout.full_name(&promised.name), promised, stored, change }
    }

    /// Whether it is in four bits; in half precision if not.
    pub(super) fn is_quantized(&self) -> bool {
        self.promised.is_matrix()
    }

    /// The name of its new file.
    pub(super) fn file(&self) -> String {
        files::file_name(&self.name, self.is_quantized())
    }

    pub(super) fn report(&self) -> TensorReport {
        // A tensor that is made of another one's bytes takes none itself.
        let is_copy = self.stored.name() != self.name;
        TensorReport {
            name: self.name.clone(),
            part: Part::of(&self.promised.name),
            quantized: self.is_quantized(),
            elements: self.stored.len() as u64,
            source_bytes: if is_copy { 0 } else { self.stored.size() as u64 },
            written_bytes: files::file_length(self.stored.shape(), self.is_quantized()) as u64,
            deviation: None,
        }
    }
}
