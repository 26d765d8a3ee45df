//! Caches on the CPU ↔ numbers.

use bevy_ecs::prelude::*;

use super::caches::LayerCache;
use super::computer::Precision;
use super::layers::{Layer, Layout};
use super::numbers::{Reader, Writer};
use crate::checkpoint::ModelConfig;
use crate::cpu::{Cpu, KvBlock, KvElements};
use crate::world::cache::{DeltaState, KvCache};

/// Writes the first `positions` of these caches, one a layer. `None` if they do not hold them.
pub(super) fn write(
    world: &World,
    caches: &[Entity],
    layout: &Layout,
    config: &ModelConfig,
    positions: usize,
    numbers: &mut Writer,
) -> Option<Vec<Layer>> {
    let layer = |&cache: &Entity| {
        if let Some(state) = world.get::<DeltaState<Cpu>>(cache) {
            let mut state = state.clone();
            state.truncate(positions).ok()?;
            [&state.state, &state.rows, &state.inputs].into_iter().for_each(|part| numbers.write(part));
            return Some(layout.delta_net(state.since()));
        }
        let cache = world.get::<KvCache<Cpu>>(cache).filter(|cache| cache.positions() >= positions)?;
        let blocks = positions.div_ceil(KvCache::<Cpu>::BLOCK);
        for (index, block) in cache.blocks().iter().enumerate().take(blocks) {
            let held = positions - index * KvCache::<Cpu>::BLOCK;
            let (held, head_dim) = (held.min(KvCache::<Cpu>::BLOCK), config.attention.head_dim);
            match block.elements() {
                KvElements::F16(elements) => numbers.write_halves(&cleared(elements, held, head_dim)),
                KvElements::F32(elements) => numbers.write(&cleared(elements, held, head_dim)),
            }
        }
        Some(layout.attention(positions))
    };
    caches.iter().map(layer).collect()
}

/// The numbers of a block, with zeros in the places from `held` on.
fn cleared<T: Copy + Default>(elements: &[T], held: usize, head_dim: usize) -> Vec<T> {
    let mut cleared = elements.to_vec();
    for head in cleared.chunks_exact_mut(2 * KvCache::<Cpu>::BLOCK * head_dim) {
        let (keys, values) = head.split_at_mut(KvCache::<Cpu>::BLOCK * head_dim);
        keys.chunks_exact_mut(KvCache::<Cpu>::BLOCK).for_each(|places| places[held..].fill(T::default()));
        values[held * head_dim..].fill(T::default());
    }
    cleared
}

/// The caches that [`write()`] wrote, one a layer. `None` if they are not those of so many positions.
pub(super) fn read(
    layers: &[Layer],
    config: &ModelConfig,
    cache_type: Precision,
    positions: usize,
    numbers: &mut Reader<'_>,
) -> Option<Vec<LayerCache<Cpu>>> {
    let layer = |layer: &Layer| match *layer {
        Layer::DeltaNet { since, numbers: [state, rows, inputs] } => {
            let parts = [numbers.read(state)?, numbers.read(rows)?, numbers.read(inputs)?];
            DeltaState::read(positions, since, parts).map(LayerCache::DeltaNet)
        }
        Layer::Attention { blocks, numbers: block } => {
            let head_dim = config.attention.head_dim;
            let mut elements = || match cache_type {
                Precision::F16 => numbers.read_halves(block).map(KvElements::F16),
                Precision::F32 => numbers.read(block).map(KvElements::F32),
            };
            let blocks = (0..blocks).map(|_| Some(KvBlock::of_elements(elements()?, head_dim)));
            KvCache::of_blocks(blocks.collect::<Option<_>>()?, positions).map(LayerCache::Attention)
        }
    };
    layers.iter().map(layer).collect()
}
