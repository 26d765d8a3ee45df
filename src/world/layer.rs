//! A layer entity: its place, its two norms, and the marker of the layer in hand. Beside them it has an
//! [`Mlp`](super::mlp::Mlp) or a [`Moe`](super::moe::Moe), and exactly one mixer, [`DeltaNet`](super::delta_net::DeltaNet) or
//! [`Attention`](super::attention::Attention): the mixer's type is the layer's archetype.

use bevy_ecs::prelude::*;

use super::role::VectorRole;
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// The layer's place in the model, from 0.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[component(immutable)]
pub struct LayerIndex(pub usize);

/// The layers of a model, in order.
pub(crate) fn layers_of(world: &World, model: Entity) -> Vec<Entity> {
    let children = world.get::<Children>(model).into_iter().flat_map(|children| children.iter());
    children.filter(|&child| world.get::<LayerIndex>(child).is_some()).collect()
}

/// On the one layer that [`LayerPass`](crate::schedule::LayerPass) is passing over.
#[derive(Component, Clone, Copy, Debug)]
#[component(storage = "SparseSet")]
pub struct ActiveLayer;

/// The layer in hand, if it has the components `D`: a system that asks for `OnLayer<&DeltaNet<Cpu>>` runs on the
/// layers that mix with a delta net and is skipped on the others.
pub type OnLayer<'w, 's, D> = Single<'w, 's, D, With<ActiveLayer>>;

/// The norms before the mixer and before the MLP.
#[derive(Component)]
pub struct LayerNorms<S: Storage> {
    /// Before the mixer, `[hidden_size]`.
    pub input_layernorm: S::Vector,
    /// Before the MLP, `[hidden_size]`.
    pub post_attention_layernorm: S::Vector,
}

impl LayerNorms<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let norm = || Shape::new([config.hidden_size], VectorRole::of_norm(config));
        Self { input_layernorm: norm(), post_attention_layernorm: norm() }
    }
}

impl<S: Storage> LayerNorms<S> {
    /// Turns every tensor into another storage's; `layer` prefixes their names, e.g. `layers.0`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(
        &self,
        layer: &str,
        tensors: &mut M,
    ) -> Result<LayerNorms<T>, M::Error> {
        Ok(LayerNorms {
            input_layernorm: tensors.vector(&format!("{layer}.input_layernorm.weight"), &self.input_layernorm)?,
            post_attention_layernorm: tensors
                .vector(&format!("{layer}.post_attention_layernorm.weight"), &self.post_attention_layernorm)?,
        })
    }
}
