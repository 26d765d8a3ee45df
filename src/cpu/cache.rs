//! Part of the `Admit` set: what is in a cache entity on the CPU.

use bevy_ecs::prelude::*;

use crate::checkpoint::ModelConfig;
use crate::world::cache::{DeltaState, KvCache, OfLayer, OfSequence};
use crate::world::delta_net::DeltaNet;
use crate::world::sequence::{Running, Tokens};

use super::{Cpu, Footprint, Numerics};
use crate::world::limits::CacheCost;

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache>, Without<DeltaState>);

/// New tokens that a cache has room for from the start, at most: growing copies all that is in it, which at 4096 tokens
/// of the 0.8B shape costs as much as a token, in the middle of a conversation. Room that is not used takes no memory.
const ROOM: usize = 1024;

/// Fills the new cache entities: an empty state for a layer that mixes with a delta net, an empty cache for attention.
pub fn fill_caches(
    mut commands: Commands,
    config: Single<&ModelConfig>,
    new: Query<(Entity, &OfLayer, &OfSequence), New>,
    sequences: Query<(&Tokens, &Running)>,
    delta_nets: Query<(), With<DeltaNet<Cpu>>>,
) {
    for (cache, layer, sequence) in &new {
        if delta_nets.contains(layer.0) {
            let net = &config.delta_net;
            commands.entity(cache).insert(DeltaState {
                conv: vec![0.0; (net.conv_kernel - 1) * net.channels()],
                recurrent: vec![0.0; net.num_value_heads * net.key_head_dim * net.value_head_dim],
            });
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
