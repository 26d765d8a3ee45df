//! The one list of what a model and each of its layers consist of. Loading, packing, uploading, converting, inspecting and predicting memory
//! all go through it: whoever adds a part adds it here, and the compiler names everyone who has to know.

use bevy_ecs::world::EntityWorldMut;

use super::attention::Attention;
use super::delta_net::DeltaNet;
use super::layer::LayerNorms;
use super::mlp::Mlp;
use super::model::Model;
use super::moe::Moe;
use super::mtp::Mtp;
use super::storage::{MapTensors, Shapes, Storage};
use crate::checkpoint::{LayerType, ModelConfig, MoeConfig};

/// All tensors of a model in one storage, before they are entities.
pub struct ModelParts<S: Storage> {
    /// What belongs to no layer.
    pub ends: Model<S>,
    /// In order.
    pub layers: Vec<LayerParts<S>>,
    /// The head that predicts several tokens, where there is one and it is wanted.
    pub mtp: Option<Mtp<S>>,
}

impl ModelParts<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let layers = (0..config.layer_types.len()).map(|layer| LayerParts::shapes(config, layer));
        Self { ends: Model::shapes(config), layers: layers.collect(), mtp: Mtp::shapes(config) }
    }
}

impl<S: Storage> ModelParts<S> {
    /// The model without the head that predicts several tokens.
    #[must_use]
    pub fn without_mtp(self) -> Self {
        Self { mtp: None, ..self }
    }

    /// Turns every tensor into another storage's.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, tensors: &mut M) -> Result<ModelParts<T>, M::Error> {
        let ends = self.ends.map(tensors)?;
        let layers = self.layers.iter().enumerate().map(|(index, layer)| layer.map(&layer_name(index), tensors));
        let layers = layers.collect::<Result<_, _>>()?;
        let mtp = self.mtp.as_ref().map(|mtp| mtp.map(tensors)).transpose()?;
        Ok(ModelParts { ends, layers, mtp })
    }
}

/// What the names of a layer's tensors begin with.
pub(crate) fn layer_name(index: usize) -> String {
    format!("layers.{index}")
}

/// Everything that a layer entity carries in one storage, before it is one.
pub struct LayerParts<S: Storage> {
    /// Before the mixer and before the MLP.
    pub norms: LayerNorms<S>,
    /// What mixes tokens.
    pub mixer: Mixer<S>,
    /// What follows, for each token by itself.
    pub feed_forward: FeedForward<S>,
}

/// The feed-forward half of a layer, outside hot loops.
pub enum FeedForward<S: Storage> {
    /// The same for all tokens.
    Mlp(Mlp<S>),
    /// Experts, of which each token goes through a few.
    Moe(Moe<S>),
}

/// A layer's mixer, outside hot loops: on the entity, its type is the archetype.
pub enum Mixer<S: Storage> {
    /// A state of fixed size.
    DeltaNet(DeltaNet<S>),
    /// A cache that grows.
    Attention(Attention<S>),
}

impl LayerParts<Shapes> {
    /// What `config` promises of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn shapes(config: &ModelConfig, layer: usize) -> Self {
        Self::of_kind(config, config.layer_types[layer], config.experts_of(layer))
    }

    /// A layer that mixes so, and has these experts or none.
    pub(super) fn of_kind(config: &ModelConfig, layer_type: LayerType, experts: Option<&MoeConfig>) -> Self {
        let mixer = match layer_type {
            LayerType::LinearAttention => Mixer::DeltaNet(DeltaNet::shapes(config)),
            LayerType::FullAttention => Mixer::Attention(Attention::shapes(config)),
        };
        let feed_forward = match experts {
            None => FeedForward::Mlp(Mlp::shapes(config)),
            Some(moe) => FeedForward::Moe(Moe::shapes(config, moe)),
        };
        Self { norms: LayerNorms::shapes(config), mixer, feed_forward }
    }
}

impl<S: Storage> LayerParts<S> {
    /// Turns every tensor into another storage's; `layer` prefixes their names, e.g. `layers.3`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(
        &self,
        layer: &str,
        tensors: &mut M,
    ) -> Result<LayerParts<T>, M::Error> {
        let mixer = match &self.mixer {
            Mixer::DeltaNet(net) => Mixer::DeltaNet(net.map(layer, tensors)?),
            Mixer::Attention(attention) => Mixer::Attention(attention.map(layer, tensors)?),
        };
        let norms = self.norms.map(layer, tensors)?;
        let feed_forward = match &self.feed_forward {
            FeedForward::Mlp(mlp) => FeedForward::Mlp(mlp.map(&format!("{layer}.mlp"), tensors)?),
            FeedForward::Moe(moe) => FeedForward::Moe(moe.map(layer, tensors)?),
        };
        Ok(LayerParts { norms, mixer, feed_forward })
    }

    /// Puts every part on a layer entity.
    pub fn insert(self, layer: &mut EntityWorldMut<'_>) {
        let Self { norms, mixer, feed_forward } = self;
        layer.insert(norms);
        match mixer {
            Mixer::DeltaNet(net) => layer.insert(net),
            Mixer::Attention(attention) => layer.insert(attention),
        };
        match feed_forward {
            FeedForward::Mlp(mlp) => layer.insert(mlp),
            FeedForward::Moe(moe) => layer.insert(moe),
        };
    }
}
