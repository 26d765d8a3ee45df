//! The one list of what a model and each of its layers consist of. Loading, packing, uploading, converting, inspecting and predicting memory
//! all go through it: whoever adds a part adds it here, and the compiler names everyone who has to know.

use bevy_ecs::world::EntityWorldMut;

use super::attention::Attention;
use super::delta_net::DeltaNet;
use super::layer::LayerNorms;
use super::mlp::Mlp;
use super::model::Model;
use super::storage::{MapTensors, Shapes, Storage};
use crate::checkpoint::{LayerType, ModelConfig};

/// All tensors of a model in one storage, before they are entities.
pub struct ModelParts<S: Storage> {
    /// What belongs to no layer.
    pub ends: Model<S>,
    /// In order.
    pub layers: Vec<LayerParts<S>>,
}

impl ModelParts<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let layers = config.layer_types.iter().map(|&layer_type| LayerParts::shapes(config, layer_type));
        Self { ends: Model::shapes(config), layers: layers.collect() }
    }
}

impl<S: Storage> ModelParts<S> {
    /// Turns every tensor into another storage's.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, tensors: &mut M) -> Result<ModelParts<T>, M::Error> {
        let ends = self.ends.map(tensors)?;
        let layers = self.layers.iter().enumerate().map(|(index, layer)| layer.map(index, tensors));
        Ok(ModelParts { ends, layers: layers.collect::<Result<_, _>>()? })
    }
}

/// Everything that a layer entity carries in one storage, before it is one.
pub struct LayerParts<S: Storage> {
    /// Before the mixer and before the MLP.
    pub norms: LayerNorms<S>,
    /// What mixes tokens.
    pub mixer: Mixer<S>,
    /// The feed-forward half.
    pub mlp: Mlp<S>,
}

/// A layer's mixer, outside hot loops: on the entity, its type is the archetype.
pub enum Mixer<S: Storage> {
    /// A state of fixed size.
    DeltaNet(DeltaNet<S>),
    /// A cache that grows.
    Attention(Attention<S>),
}

impl LayerParts<Shapes> {
    /// What `config` promises of its layers of this type.
    #[must_use]
    pub fn shapes(config: &ModelConfig, layer_type: LayerType) -> Self {
        let mixer = match layer_type {
            LayerType::LinearAttention => Mixer::DeltaNet(DeltaNet::shapes(config)),
            LayerType::FullAttention => Mixer::Attention(Attention::shapes(config)),
        };
        Self { norms: LayerNorms::shapes(config), mixer, mlp: Mlp::shapes(config) }
    }
}

impl<S: Storage> LayerParts<S> {
    /// Turns every tensor into another storage's; `index` is the layer's place, which is part of their names.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(
        &self,
        index: usize,
        tensors: &mut M,
    ) -> Result<LayerParts<T>, M::Error> {
        let layer = format!("layers.{index}");
        let mixer = match &self.mixer {
            Mixer::DeltaNet(net) => Mixer::DeltaNet(net.map(&layer, tensors)?),
            Mixer::Attention(attention) => Mixer::Attention(attention.map(&layer, tensors)?),
        };
        Ok(LayerParts { norms: self.norms.map(&layer, tensors)?, mixer, mlp: self.mlp.map(&layer, tensors)? })
    }

    /// Puts every part on a layer entity.
    pub fn insert(self, layer: &mut EntityWorldMut<'_>) {
        let Self { norms, mixer, mlp } = self;
        layer.insert((norms, mlp));
        match mixer {
            Mixer::DeltaNet(net) => layer.insert(net),
            Mixer::Attention(attention) => layer.insert(attention),
        };
    }
}
