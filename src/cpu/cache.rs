//! Part of the `Admit` set: what is in a cache entity on the CPU.

use bevy_ecs::prelude::*;

use crate::checkpoint::{DeltaNetConfig, ModelConfig};
use crate::world::cache::{DeltaState, KvCache, OfLayer, OfSequence};
use crate::world::delta_net::DeltaNet;
use crate::world::sequence::{Running, Tokens};

use super::kernels::{DELTA_CHUNK, DeltaShape, conv_rows};
use super::{Cpu, Footprint, Numerics};
use crate::world::limits::CacheCost;

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache>, Without<DeltaState<Cpu>>);

/// New tokens that a cache has room for from the start, at most: growing copies all that is in it, which at 4096 tokens
/// of the 0.8B shape costs as much as a token, in the middle of a conversation. Room that is not used takes no memory.
const ROOM: usize = 1024;

/// Fills the new cache entities: an empty state for a layer that mixes with a delta net, an empty cache for attention.
pub fn fill_caches(
    mut commands: Commands,
    configs: Query<&ModelConfig>,
    layers: Query<&ChildOf>,
    new: Query<(Entity, &OfLayer, &OfSequence), New>,
    sequences: Query<(&Tokens, &Running)>,
    delta_nets: Query<(), With<DeltaNet<Cpu>>>,
) {
    for (cache, layer, sequence) in &new {
        let Ok(config) = layers.get(layer.0).and_then(|model| configs.get(model.0)) else { continue };
        if delta_nets.contains(layer.0) {
            let [state, rows, inputs] = delta_parts(&config.delta_net).map(|len| vec![0.0; len].into());
            commands.entity(cache).insert(DeltaState::<Cpu>::new(state, rows, inputs));
        } else {
            let positions = sequences
                .get(sequence.0)
                .map_or(0, |(Tokens { prompt, .. }, running)| prompt.len() + running.room.min(ROOM));
            let heads = || {
                let head = || Vec::with_capacity(positions * config.attention.head_dim);
                std::iter::repeat_with(head).take(config.attention.num_kv_heads).collect()
            };
            commands.entity(cache).insert(KvCache { keys: heads(), values: heads() });
        }
    }
}

/// What the caches of one sequence take.
#[must_use]
pub fn cache_cost(config: &ModelConfig) -> CacheCost {
    let footprint = Footprint::of(config, [], Numerics::Exact, BLOCK);
    CacheCost { fixed: footprint.delta_state, block: footprint.kv_cache, positions: BLOCK }
}

/// Positions that a cache grows by.
const BLOCK: usize = 32;
/// The heads of a layer.
pub(super) fn delta_shape(net: &DeltaNetConfig) -> DeltaShape {
    DeltaShape {
        key_heads: net.num_key_heads,
        value_heads: net.num_value_heads,
        key_head_dim: net.key_head_dim,
        value_head_dim: net.value_head_dim,
    }
}

/// The elements of the parts of a [`DeltaState`]: of its state, its rows and its inputs.
pub(super) fn delta_parts(net: &DeltaNetConfig) -> [usize; 3] {
    let shape = delta_shape(net);
    [shape.state_len(), shape.rows_len(), conv_rows(net.conv_kernel) * net.channels()]
}

// The kernel and the memory that it works on agree.
const _: () = assert!(DELTA_CHUNK == DeltaState::<Cpu>::CHUNK);
