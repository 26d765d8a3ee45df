//! Part of the `Admit` set: what is in a cache entity on the CPU.

use bevy_ecs::prelude::*;

use crate::checkpoint::ModelConfig;
use crate::world::cache::{DeltaState, KvCache, OfLayer};
use crate::world::delta_net::DeltaNet;

use super::Cpu;

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache<Cpu>>, Without<DeltaState>);

/// Fills the new cache entities: an empty state for a layer that mixes with a delta net, an empty cache for attention.
pub fn fill_caches(
    mut commands: Commands,
    config: Single<&ModelConfig>,
    new: Query<(Entity, &OfLayer), New>,
    delta_nets: Query<(), With<DeltaNet<Cpu>>>,
) {
    for (cache, layer) in &new {
        if delta_nets.contains(layer.0) {
            let net = &config.delta_net;
            commands.entity(cache).insert(DeltaState {
                conv: vec![0.0; (net.conv_kernel - 1) * net.channels()],
                recurrent: vec![0.0; net.num_value_heads * net.key_head_dim * net.value_head_dim],
            });
        } else {
            commands.entity(cache).insert(KvCache::<Cpu>::default());
        }
    }
}
