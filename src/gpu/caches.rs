//! Part of the `Admit` set: what is in a cache entity on a device, and until when.

use bevy_ecs::prelude::*;

use super::Gpu;
use super::buffers::LayerStores;
use super::model::GpuModel;
use crate::world::cache::{Caches, DeltaState, KvCache, OfLayer};
use crate::world::layer::LayerIndex;
use crate::world::sequence::Finished;

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache<Gpu>>, Without<DeltaState<Gpu>>);

/// Those that have.
type Filled = Or<(With<KvCache<Gpu>>, With<DeltaState<Gpu>>)>;

/// Fills the new cache entities: a state of zeros for a layer that mixes with a delta net, an empty cache for attention.
pub fn fill_caches(
    mut commands: Commands,
    models: Query<&GpuModel>,
    layers: Query<(&ChildOf, &LayerIndex)>,
    new: Query<(Entity, &OfLayer), New>,
) {
    for (cache, layer) in &new {
        let Ok((model, index)) = layers.get(layer.0) else { continue };
        let Some(stores) = models.get(model.0).ok().and_then(|model| model.layers().get(index.0)) else { continue };
        match stores {
            LayerStores::DeltaNet([states, rows, inputs]) => {
                let state = DeltaState::<Gpu>::new(states.pool.take_zeros(), rows.pool.take(), inputs.pool.take());
                commands.entity(cache).insert(state);
            }
            LayerStores::Attention(_) => _ = commands.entity(cache).insert(KvCache::<Gpu>::default()),
        }
    }
}

/// Frees what sequences that have ended hold of a device: its room is counted by those that run.
pub fn free_finished(
    mut commands: Commands,
    finished: Query<(Entity, &Caches), With<Finished>>,
    of_device: Query<(), Filled>,
) {
    for (sequence, caches) in &finished {
        if caches.of_layer(0).is_some_and(|cache| of_device.contains(cache)) {
            commands.entity(sequence).despawn_related::<Caches>();
        }
    }
}
