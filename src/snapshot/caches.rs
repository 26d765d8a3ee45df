//! Cache entities that are made of what was saved.

use bevy_ecs::prelude::*;

use crate::world::cache::{DeltaState, KvCache, OfLayer, OfSequence};
use crate::world::layer::layers_of;
use crate::world::storage::Storage;

/// What is in a cache entity.
pub(super) enum LayerCache<S: Storage> {
    DeltaNet(DeltaState<S>),
    Attention(KvCache<S>),
}

/// Gives `sequence` a cache of each layer of `model`.
pub(super) fn spawn_caches<S: Storage>(world: &mut World, sequence: Entity, model: Entity, caches: Vec<LayerCache<S>>) {
    for (layer, cache) in layers_of(world, model).into_iter().zip(caches) {
        let relations = (OfSequence(sequence), OfLayer(layer));
        match cache {
            LayerCache::DeltaNet(state) => world.spawn((relations, state)),
            LayerCache::Attention(cache) => world.spawn((relations, cache)),
        };
    }
}
