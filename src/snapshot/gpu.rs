//! Caches on a device ↔ numbers.

use bevy_ecs::prelude::*;

use super::caches::LayerCache;
use super::layers::{Layer, Layout};
use super::numbers::{Reader, Writer};
use crate::gpu::places::CachePlace;
use crate::gpu::{DeviceError, Gpu, GpuModel, GpuStep};
use crate::world::cache::{DeltaState, KvCache};

/// Writes the first `positions` of these caches, one a layer. `None` if they do not hold them.
pub(super) fn write(
    world: &mut World,
    model: Entity,
    caches: &[Entity],
    layout: &Layout,
    positions: usize,
    numbers: &mut Writer,
) -> Result<Option<Vec<Layer>>, DeviceError> {
    let mut places = Vec::new();
    let mut held = Vec::new();
    for (index, &cache) in caches.iter().enumerate() {
        if let Some(state) = world.get::<DeltaState<Gpu>>(cache) {
            // It may count a row that was sent ahead.
            let mut state = state.clone();
            if state.truncate(positions).is_err() {
                return Ok(None);
            }
            places.extend(CachePlace::delta_net(index, [&state.state, &state.rows, &state.inputs]));
            held.push(layout.delta_net(state.since()));
            continue;
        }
        let cache = world.get::<KvCache<Gpu>>(cache).filter(|cache| cache.positions() >= positions);
        let Some(cache) = cache else { return Ok(None) };
        let blocks = positions.div_ceil(KvCache::<Gpu>::BLOCK);
        places.extend(cache.blocks().iter().take(blocks).flat_map(|block| CachePlace::block(index, block)));
        held.push(layout.attention(positions));
    }
    let Some(mut model) = world.get_mut::<GpuModel>(model) else { return Ok(None) };
    model.download(&places, |place| numbers.write(place))?;
    Ok(Some(held))
}

/// The caches that [`write()`] wrote, one a layer, on the device of `model`. `None` if they are not those of so many positions.
pub(super) fn read(
    world: &mut World,
    model: Entity,
    layers: &[Layer],
    positions: usize,
    numbers: &mut Reader<'_>,
) -> Result<Option<Vec<LayerCache<Gpu>>>, DeviceError> {
    let Some(mut on_device) = world.get_mut::<GpuModel>(model) else { return Ok(None) };
    let mut places = Vec::new();
    let layer = |(index, layer): (usize, &Layer)| match *layer {
        Layer::DeltaNet { since, numbers: counts } => {
            let slots = on_device.take_delta_net(index)?;
            let [state, rows, inputs] = &slots;
            for (place, count) in CachePlace::delta_net(index, [state, rows, inputs]).into_iter().zip(counts) {
                places.push((place, numbers.read(count)?));
            }
            DeltaState::read(positions, since, slots).map(LayerCache::DeltaNet)
        }
        Layer::Attention { blocks, numbers: count } => {
            let mut slots = Vec::new();
            for _ in 0..blocks {
                let slot = on_device.take_block(index)?;
                for place in CachePlace::block(index, &slot) {
                    places.push((place, numbers.read(count / 2)?));
                }
                slots.push(slot);
            }
            KvCache::of_blocks(slots, positions).map(LayerCache::Attention)
        }
    };
    let caches: Option<Vec<_>> = layers.iter().enumerate().map(layer).collect();
    let Some(caches) = caches else { return Ok(None) };
    on_device.upload(&places)?;
    // Its buffers may be others now than those that a step was sent ahead with.
    if let Some(mut step) = world.get_resource_mut::<GpuStep>() {
        step.forget_ahead();
    }
    Ok(Some(caches))
}
