//! Part of the `Admit` set: what is in a cache entity on the CPU.

use std::collections::HashMap;
use std::sync::Arc;

use bevy_ecs::component::{Immutable, StorageType};
use bevy_ecs::prelude::*;

use crate::checkpoint::{DeltaNetConfig, ModelConfig};
use crate::world::attention::Attention;
use crate::world::cache::{DeltaState, KvCache, OfLayer};
use crate::world::delta_net::DeltaNet;
use crate::world::limits::CacheCost;

use super::kernels::{CacheType, DELTA_CHUNK, DeltaShape, conv_rows};
use super::{Cpu, Footprint, Numerics};

/// On the entity of a model on the CPU.
impl Component for CacheType {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

impl CacheType {
    /// What keys and values are kept as where nobody says: half precision is for models whose activations are rounded to
    /// fewer bits than that anyway.
    #[must_use]
    pub fn of(numerics: Numerics) -> Self {
        match numerics {
            Numerics::Fast => Self::F16,
            Numerics::Exact => Self::F32,
        }
    }
}

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache<Cpu>>, Without<DeltaState<Cpu>>);

/// Fills the new cache entities: an empty state for a layer that mixes with a delta net, an empty cache for attention.
pub fn fill_caches(
    mut commands: Commands,
    configs: Query<&ModelConfig>,
    layers: Query<&ChildOf>,
    new: Query<(Entity, &OfLayer), New>,
    delta_nets: Query<(), With<DeltaNet<Cpu>>>,
    attentions: Query<(), With<Attention<Cpu>>>,
    mut zeros: Local<HashMap<usize, Arc<Box<[f32]>>>>,
) {
    for (cache, layer) in &new {
        let Ok(config) = layers.get(layer.0).and_then(|model| configs.get(model.0)) else { continue };
        if delta_nets.contains(layer.0) {
            // All share them until they first write: 20 MB in the 0.8B shape, which took 6 ms to clear when a sequence came.
            let zeros = |len| Arc::clone(zeros.entry(len).or_insert_with(|| Arc::new(vec![0.0; len].into())));
            commands.entity(cache).insert(DeltaState::<Cpu>::new(delta_parts(config.linear_attention()).map(zeros)));
        } else if attentions.contains(layer.0) {
            commands.entity(cache).insert(KvCache::<Cpu>::default());
        }
    }
}

/// What the caches of one sequence take.
#[must_use]
pub fn cache_cost(config: &ModelConfig, cache_type: CacheType) -> CacheCost {
    let positions = KvCache::<Cpu>::BLOCK;
    let footprint = Footprint::of(config, [], Numerics::Exact, Some(cache_type), positions);
    CacheCost {
        fixed: footprint.delta_state,
        block: footprint.kv_cache,
        positions,
        most_sequences: usize::MAX,
        most_blocks: u64::MAX,
    }
}

/// The heads of a layer.
pub(super) fn delta_shape(net: &DeltaNetConfig) -> DeltaShape {
    DeltaShape {
        key_heads: net.num_key_heads,
        value_heads: net.num_value_heads,
        key_head_dim: net.key_head_dim,
        value_head_dim: net.value_head_dim,
        tiled: net.tiled_value_heads,
    }
}

/// The elements of the parts of a [`DeltaState`]: of its state, its rows and its inputs.
pub(crate) fn delta_parts(net: &DeltaNetConfig) -> [usize; 3] {
    let shape = delta_shape(net);
    [shape.state_len(), shape.rows_len(), conv_rows(net.conv_kernel) * net.channels()]
}

// The kernel and the memory that it works on agree.
const _: () = assert!(DELTA_CHUNK == DeltaState::<Cpu>::CHUNK);
