//! Caches on the CPU ↔ numbers.

use std::ops::Range;

use bevy_ecs::prelude::*;

use super::caches::LayerCache;
use super::layers::{Layer, Layout};
use super::numbers::{Reader, Writer};
use crate::checkpoint::ModelConfig;
use crate::cpu::{Cpu, KvBlock};
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
            write_block(block.elements(), 0..held.min(KvCache::<Cpu>::BLOCK), config.attention.head_dim, numbers);
        }
        Some(layout.attention(positions))
    };
    caches.iter().map(layer).collect()
}

/// Writes these places of a block, and zeros for the others.
fn write_block(elements: &[f32], places: Range<usize>, head_dim: usize, numbers: &mut Writer) {
    let zeros = vec![0.0; (KvCache::<Cpu>::BLOCK - places.len()) * head_dim];
    for half in elements.chunks_exact(KvCache::<Cpu>::BLOCK * head_dim) {
        numbers.write(&half[..places.len() * head_dim]);
        numbers.write(&zeros);
    }
}

/// The caches that [`write()`] wrote, one a layer. `None` if they are not those of so many positions.
pub(super) fn read(
    layers: &[Layer],
    config: &ModelConfig,
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
            let blocks = (0..blocks).map(|_| Some(KvBlock::of_elements(numbers.read(block)?, head_dim)));
            KvCache::of_blocks(blocks.collect::<Option<_>>()?, positions).map(LayerCache::Attention)
        }
    };
    layers.iter().map(layer).collect()
}
