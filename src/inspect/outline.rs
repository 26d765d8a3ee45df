//! What a model would take of which there is a configuration and nothing else.

use crate::checkpoint::{ElementType, ModelConfig};
use crate::cpu::{CacheType, Footprint, LoadedWeight, Numerics};
use crate::world::promised::{PromisedTensor, promised_tensors};

/// A model without weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    config: ModelConfig,
    element: ElementType,
    tensors: Vec<PromisedTensor>,
}

impl Outline {
    /// The model of `config`, as if its files were [of this type](ElementType::of_tensor).
    #[must_use]
    pub fn new(config: ModelConfig, element: ElementType) -> Self {
        Self { tensors: promised_tensors(&config), config, element }
    }

    /// What there is of it.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What its matrices are stored as.
    #[must_use]
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// How many numbers its tensors have. Sums that cannot be counted are the largest number there is.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.weights().fold(0, |sum, weight| sum.saturating_add(count(weight.shape) as u64))
    }

    /// What its tensors take in files, without the headers. As [`Outline::parameters`].
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let bytes =
            |weight: LoadedWeight<'_>| weight.element.bytes_for(count(weight.shape)).unwrap_or(usize::MAX) as u64;
        self.weights().fold(0, |sum, weight| sum.saturating_add(bytes(weight)))
    }

    /// The memory it takes on the CPU with a sequence of `context` tokens, whose keys and values are kept as `cache_type` says,
    /// or as they are where nobody says.
    #[must_use]
    pub fn footprint(&self, numerics: Numerics, cache_type: Option<CacheType>, context: usize) -> Footprint {
        Footprint::of(&self.config, self.weights(), numerics, cache_type, context)
    }

    /// The memory it takes on a GPU with a sequence of `context` tokens.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn gpu_footprint(&self, context: usize) -> crate::gpu::Footprint {
        crate::gpu::Footprint::of(&self.config, self.weights(), context)
    }

    fn weights(&self) -> impl Iterator<Item = LoadedWeight<'_>> {
        self.tensors.iter().map(|tensor| {
            let (shape, is_matrix) = (&*tensor.shape, tensor.is_matrix());
            let element = self.element.of_tensor(shape, is_matrix);
            LoadedWeight { element, shape, is_matrix, is_of_mtp: tensor.is_of_mtp() }
        })
    }
}

fn count(shape: &[usize]) -> usize {
    shape.iter().fold(1, |count: usize, &size| count.saturating_mul(size))
}
