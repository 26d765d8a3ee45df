//! Part of the `Admit` set: what is in a cache entity on a device.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::Gpu;
use super::buffers::LayerStores;
use super::model::GpuModel;
use crate::world::cache::{DeltaState, KvCache, OfLayer};
use crate::world::layer::LayerIndex;

/// Cache entities that have nothing in them yet.
type New = (Without<KvCache<Gpu>>, Without<DeltaState<Gpu>>);

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
                let parts = [states.pool.take_zeros(), rows.pool.take(), inputs.pool.take()];
                commands.entity(cache).insert(DeltaState::<Gpu>::new(parts.map(Arc::new)));
            }
            LayerStores::Attention(_) => _ = commands.entity(cache).insert(KvCache::<Gpu>::default()),
        }
    }
}
