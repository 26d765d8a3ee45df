//! A model as a list of tensors, each with what it is made of.

use std::collections::BTreeSet;

use super::change::Change;
use super::error::ConvertError;
use super::report::{ConvertedTensor, Part};
use crate::checkpoint::{Checkpoint, Format, ModelConfig, StoredTensor, TensorNames, Undo};
use crate::world::promised::{PromisedTensor, TensorRole, promised_tensors};
use crate::world::role::VectorRole;

/// All tensors that a configuration promises, in the order of the model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) names: TensorNames,
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
        let (config, names) = (checkpoint.config.clone(), checkpoint.names().clone());
        let mut tensors = Vec::new();
        for promised in promised_tensors(&config) {
            let mut stored = checkpoint.find(&promised.name, &promised.shape)?;
            if let Some(undo) = promised.role.undo().filter(|_| checkpoint.is_applied()) {
                stored = stored.undone(undo)?;
            }
            tensors.push(PlannedTensor::new(&names, promised, stored, Change::Keep));
        }
        Ok(Self { config, names, tensors })
    }

    /// What becomes of each tensor. One that is made of another one's bytes takes none itself.
    pub(super) fn reports(&self) -> Vec<ConvertedTensor> {
        let mut counted = BTreeSet::new();
        self.tensors.iter().map(|tensor| tensor.report(!counted.insert(tensor.stored.name()))).collect()
    }
}

impl TensorRole {
    /// What makes published values of those that are computed with.
    fn undo(self) -> Option<Undo> {
        match self {
            Self::Vector(VectorRole::ShiftedNorm) => Some(Undo::Shift),
            Self::Vector(VectorRole::LogDecay) => Some(Undo::Decay),
            Self::Vector(VectorRole::Norm | VectorRole::Decay | VectorRole::ConvTaps | VectorRole::Bias)
            | Self::Matrix(_) => None,
        }
    }
}

impl PlannedTensor {
    pub(super) fn new(names: &TensorNames, promised: PromisedTensor, stored: StoredTensor, change: Change) -> Self {
        Self { name: names.own(&promised.name), promised, stored, change }
    }

    /// Whether it is in four bits; in half precision if not.
    pub(super) fn is_quantized(&self) -> bool {
        self.promised.is_quantised()
    }

    /// That of its new file.
    pub(super) fn format(&self) -> Format {
        if self.is_quantized() { Format::Q4 } else { Format::F16 }
    }

    /// The length of its new file.
    fn written_bytes(&self) -> usize {
        let (format, shape) = (self.format(), self.stored.shape());
        let payload = format.element().bytes_for(self.stored.len());
        format.header(shape).len() + payload.expect("no more than in the source")
    }

    fn report(&self, is_copy: bool) -> ConvertedTensor {
        ConvertedTensor {
            name: self.name.clone(),
            part: Part::of(&self.promised.name),
            quantized: self.is_quantized(),
            elements: self.stored.len() as u64,
            source_bytes: if is_copy { 0 } else { self.stored.size() as u64 },
            written_bytes: self.written_bytes() as u64,
            deviation: None,
        }
    }
}
