//! How many numbers the caches of each layer have.

use serde::{Deserialize, Serialize};

use super::computer::{Backend, Precision};
use super::error::SnapshotError;
use super::header::Contents;
use super::numbers::width;
use crate::checkpoint::{LayerType, ModelConfig};
use crate::cpu::Cpu;
use crate::world::cache::{DeltaState, KvCache};

/// What there is of a layer's caches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Layer {
    DeltaNet {
        /// By how many of the positions that were read the state is behind.
        since: usize,
        /// The numbers of the state, of the rows since, of the inputs.
        numbers: [usize; 3],
    },
    Attention {
        blocks: usize,
        /// The numbers of a block.
        numbers: usize,
    },
}

impl Layer {
    fn bytes(&self, contents: Contents, cache_type: Precision) -> Option<usize> {
        match *self {
            Self::DeltaNet { numbers: [state, rows, inputs], .. } => {
                state.checked_add(rows)?.checked_add(inputs)?.checked_mul(width(contents, Precision::F32)?)
            }
            Self::Attention { blocks, numbers } => {
                blocks.checked_mul(numbers)?.checked_mul(width(contents, cache_type)?)
            }
        }
    }
}

/// What all numbers take where keys and values are kept as `cache_type`; `None` if that cannot be counted.
pub(super) fn bytes(layers: &[Layer], contents: Contents, cache_type: Precision) -> Option<usize> {
    layers.iter().try_fold(0usize, |bytes, layer| bytes.checked_add(layer.bytes(contents, cache_type)?))
}

const CHUNK: usize = DeltaState::<Cpu>::CHUNK;

/// What a backend has in the caches of one sequence.
pub(super) struct Layout {
    /// As [`Layer::DeltaNet`].
    delta_net: [usize; 3],
    /// As [`Layer::Attention`].
    block: usize,
    /// By how many positions a state can be behind.
    most_behind: usize,
}

impl Layout {
    /// That of a model of this configuration; `None` where a backend was left out.
    pub(super) fn of(backend: Backend, config: &ModelConfig) -> Option<Self> {
        match backend {
            Backend::Cpu => Some(Self {
                delta_net: config.delta_net.as_ref().map_or([0; 3], crate::cpu::cache::delta_parts),
                block: 2 * config.attention.num_kv_heads * config.attention.head_dim * KvCache::<Cpu>::BLOCK,
                most_behind: CHUNK - 1,
            }),
            #[cfg(feature = "gpu")]
            Backend::Gpu => Some(Self {
                delta_net: crate::gpu::places::delta_words(config),
                block: 2 * crate::gpu::places::block_words(config),
                most_behind: CHUNK,
            }),
            #[cfg(not(feature = "gpu"))]
            Backend::Gpu => None,
        }
    }

    /// What there is of a delta net.
    pub(super) fn delta_net(&self, since: usize) -> Layer {
        Layer::DeltaNet { since, numbers: self.delta_net }
    }

    /// What there is of attention to so many positions.
    pub(super) fn attention(&self, positions: usize) -> Layer {
        Layer::Attention { blocks: positions.div_ceil(KvCache::<Cpu>::BLOCK), numbers: self.block }
    }

    /// Checks that `layers` are those of a model of this configuration that has read so many positions.
    pub(super) fn check(&self, config: &ModelConfig, layers: &[Layer], positions: usize) -> Result<(), SnapshotError> {
        if layers.len() != config.layer_types.len() {
            return Err(SnapshotError::field("layers", format!("{} of them", config.layer_types.len()), layers.len()));
        }
        for (layer, layer_type) in layers.iter().zip(&config.layer_types) {
            let expected = match (layer_type, layer) {
                (LayerType::LinearAttention, &Layer::DeltaNet { since, .. }) if self.is_behind(positions, since) => {
                    self.delta_net(since)
                }
                (LayerType::LinearAttention, _) => self.delta_net(positions % CHUNK),
                (LayerType::FullAttention, _) => self.attention(positions),
            };
            if *layer != expected {
                return Err(SnapshotError::field("layers", format!("{expected:?}"), format!("{layer:?}")));
            }
        }
        Ok(())
    }

    /// Whether a state that has read `positions` can be behind by the last `since` of them.
    fn is_behind(&self, positions: usize, since: usize) -> bool {
        let multiple = positions.checked_sub(since);
        since <= self.most_behind && multiple.is_some_and(|multiple| multiple.is_multiple_of(CHUNK))
    }
}
