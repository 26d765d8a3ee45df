//! Brings a model into the world: a model entity, its layers as ordered children, all with [`Mapped`] tensors. A
//! backend then packs them into its own form.

use bevy_ecs::prelude::*;

use super::advance::LoadedModel;
use crate::checkpoint::{Checkpoint, CheckpointError, LayerType, ModelConfig, Tensor};
use crate::world::attention::Attention;
use crate::world::delta_net::DeltaNet;
use crate::world::layer::{LayerIndex, LayerNorms};
use crate::world::mlp::Mlp;
use crate::world::model::Model;
use crate::world::storage::{MapTensors, Mapped, Shapes, Storage};

/// A checkpoint hands out each tensor once its shape and values are checked.
impl MapTensors<Shapes, Mapped> for Checkpoint {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, CheckpointError> {
        self.take(name, shape)
    }

    fn vector(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, CheckpointError> {
        self.take(name, shape)
    }
}

#[expect(clippy::large_enum_variant, reason = "one for each layer, while loading")]
enum Mixer {
    DeltaNet(DeltaNet<Mapped>),
    Attention(Attention<Mapped>),
}

/// Spawns the model that `config` describes with tensors from `source`. On an error the world is as it was.
///
/// # Errors
/// The first tensor that `source` could not give.
pub fn spawn_model<M: MapTensors<Shapes, Mapped>>(
    world: &mut World,
    config: &ModelConfig,
    source: &mut M,
) -> Result<Entity, M::Error> {
    let ends = Model::shapes(config).map(source)?;
    let mut layers = Vec::with_capacity(config.layer_types.len());
    for (index, layer_type) in config.layer_types.iter().enumerate() {
        let name = format!("layers.{index}");
        let mixer = match layer_type {
            LayerType::LinearAttention => Mixer::DeltaNet(DeltaNet::shapes(config).map(&name, source)?),
            LayerType::FullAttention => Mixer::Attention(Attention::shapes(config).map(&name, source)?),
        };
        let norms: LayerNorms<Mapped> = LayerNorms::shapes(config).map(&name, source)?;
        let mlp: Mlp<Mapped> = Mlp::shapes(config).map(&name, source)?;
        layers.push((LayerIndex(index), norms, mlp, mixer));
    }
    let model = world.spawn((config.clone(), ends)).id();
    for (index, norms, mlp, mixer) in layers {
        let mut layer = world.spawn((index, norms, mlp, ChildOf(model)));
        match mixer {
            Mixer::DeltaNet(net) => layer.insert(net),
            Mixer::Attention(attention) => layer.insert(attention),
        };
    }
    world.insert_resource(LoadedModel(model));
    Ok(model)
}

/// A layer that a backend would pass over in silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer} has {found} mixers in the storage of {backend}: expected one")]
pub struct MixerMissing {
    /// The layer's index.
    pub layer: usize,
    /// How many mixers it has there.
    pub found: usize,
    /// The backend's storage.
    pub backend: &'static str,
}

/// Checks that every layer has exactly one mixer in the storage `S`: systems for other mixers skip it silently.
///
/// # Errors
/// The first layer that has none or two.
pub fn check_mixers<S: Storage>(world: &mut World) -> Result<(), MixerMissing> {
    let mut layers = world.query::<(&LayerIndex, Has<DeltaNet<S>>, Has<Attention<S>>)>();
    for (index, delta_net, attention) in layers.iter(world) {
        let found = usize::from(delta_net) + usize::from(attention);
        if found != 1 {
            return Err(MixerMissing { layer: index.0, found, backend: std::any::type_name::<S>() });
        }
    }
    Ok(())
}
