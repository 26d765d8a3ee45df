//! What a sequence remembers: one cache entity per layer, related to both. Despawning the sequence despawns them,
//! cloning it with `linked_cloning` forks them.

use std::ops::Range;
use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::storage::Storage;

/// The sequence this cache belongs to.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = Caches)]
pub struct OfSequence(pub Entity);

/// A sequence's cache entities, in the order of the layers.
#[derive(Component, Clone, Debug, Default)]
#[relationship_target(relationship = OfSequence, linked_spawn)]
pub struct Caches(Vec<Entity>);

impl Caches {
    /// The cache entity of the layer at `index`.
    #[must_use]
    pub fn of_layer(&self, index: usize) -> Option<Entity> {
        self.0.get(index).copied()
    }
}

/// The layer this cache belongs to.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = LayerCaches)]
pub struct OfLayer(pub Entity);

/// A layer's cache entities, one for each sequence.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = OfLayer, linked_spawn)]
pub struct LayerCaches(Vec<Entity>);

/// Keys and values of an attention layer: a table of blocks, which a clone shares until it writes into them.
#[derive(Component)]
pub struct KvCache<S: Storage> {
    blocks: Vec<Arc<S::KvBlock>>,
    positions: usize,
}

impl<S: Storage> KvCache<S> {
    /// The positions in a block.
    pub const BLOCK: usize = 32;

    /// How many positions it holds.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The table: position `p` is in block `p / BLOCK`, at the place `p % BLOCK`. What is in the places after the last
    /// position is unspecified.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<S::KvBlock>] {
        &self.blocks
    }

    /// Forgets the positions from `positions` on, if there are any.
    pub fn truncate(&mut self, positions: usize) {
        self.positions = self.positions.min(positions);
        self.blocks.truncate(self.positions.div_ceil(Self::BLOCK));
    }

    /// Appends `count` positions. For each block that gets some of them, `write` is told its places and which of the new
    /// positions comes first. Full blocks stay where they are; the last one is copied if a clone shares it.
    pub fn extend(
        &mut self,
        count: usize,
        new_block: impl Fn() -> S::KvBlock,
        mut write: impl FnMut(&mut S::KvBlock, Range<usize>, usize),
    ) {
        let mut written = 0;
        while written < count {
            let place = self.positions % Self::BLOCK;
            let places = place..Self::BLOCK.min(place + count - written);
            if place == 0 {
                self.blocks.push(Arc::new(new_block()));
            }
            let Some(block) = self.blocks.last_mut() else { return };
            write(Arc::make_mut(block), places.clone(), written);
            written += places.len();
            self.positions += places.len();
        }
    }
}

impl<S: Storage> Default for KvCache<S> {
    fn default() -> Self {
        Self { blocks: Vec::new(), positions: 0 }
    }
}

/// Costs little: the blocks are shared.
impl<S: Storage> Clone for KvCache<S> {
    fn clone(&self) -> Self {
        Self { blocks: self.blocks.clone(), positions: self.positions }
    }
}

/// The memory of a delta-net layer: its size does not depend on how much was read.
#[derive(Component, Clone, Debug, Default)]
pub struct DeltaState {
    /// The convolution's last inputs, `[conv_kernel − 1, channels]`, oldest first.
    pub conv: Vec<f32>,
    /// `[num_value_heads, key_head_dim, value_head_dim]`
    pub recurrent: Vec<f32>,
}
