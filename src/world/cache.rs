//! What a sequence remembers: one cache entity per layer, related to both. Despawning the sequence despawns them,
//! cloning it with `linked_cloning` forks them.

use bevy_ecs::prelude::*;

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

/// Keys and values of an attention layer; grows with the sequence.
#[derive(Component, Clone, Debug, Default)]
pub struct KvCache {
    /// One per key/value head, each `[positions, head_dim]`.
    pub keys: Vec<Vec<f32>>,
    /// As `keys`.
    pub values: Vec<Vec<f32>>,
}

impl KvCache {
    /// How many positions it holds.
    #[must_use]
    pub fn positions(&self, head_dim: usize) -> usize {
        self.keys.first().map_or(0, |keys| keys.len() / head_dim)
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
