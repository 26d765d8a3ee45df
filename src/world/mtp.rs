//! The head that predicts several tokens (`mtp`): one more decoder layer, which reads the trunk's last hidden state beside the
//! embedding of the token that follows, and says what comes after that. Fed with what it said itself, it goes on drafting.
//! Embedding and logits are the trunk's.

use bevy_ecs::prelude::*;

use super::parts::LayerParts;
use super::role::{MatrixRole, VectorRole};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::{LayerType, ModelConfig};

/// The whole head in one storage, before it is entities.
pub struct Mtp<S: Storage> {
    /// What is before and behind the layer.
    pub head: MtpHead<S>,
    /// Full attention, and what follows it in the trunk.
    pub layer: LayerParts<S>,
}

/// The two ends of the head: on the entity of the draft model, whose one layer is its child.
#[derive(Component)]
pub struct MtpHead<S: Storage> {
    /// Makes the layer's residual stream, `[hidden_size, 2 · hidden_size]`: of the embedding first, then of the hidden state.
    pub fc: S::Matrix,
    /// Of the embedding, `[hidden_size]`.
    pub pre_fc_norm_embedding: S::Vector,
    /// Of the hidden state, `[hidden_size]`: the trunk's behind its final norm, or what this head gave behind [`Self::norm`].
    pub pre_fc_norm_hidden: S::Vector,
    /// The final norm, `[hidden_size]`.
    pub norm: S::Vector,
}

/// On the entity of a draft model: the model that it drafts for.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[component(immutable)]
pub struct HeadOf(pub Entity);

/// The draft model of a model, if its head was loaded.
pub(crate) fn draft_model_of(world: &World, model: Entity) -> Option<Entity> {
    let mut children = world.get::<Children>(model)?.iter();
    children.find(|&child| world.get::<HeadOf>(child).is_some())
}

/// What the names of its layer begin with.
const LAYER: &str = "mtp.layers.0";

impl Mtp<Shapes> {
    /// What `config` promises; `None` of a model without.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Option<Self> {
        let hidden = config.hidden_size;
        let norm = || Shape::new([hidden], VectorRole::of_norm(config));
        config.mtp.then(|| Self {
            head: MtpHead {
                fc: Shape::new([hidden, 2 * hidden], MatrixRole::Joins),
                pre_fc_norm_embedding: norm(),
                pre_fc_norm_hidden: norm(),
                norm: norm(),
            },
            layer: LayerParts::of_kind(config, LayerType::FullAttention, config.moe.as_ref()),
        })
    }
}

impl<S: Storage> Mtp<S> {
    /// Turns every tensor into another storage's.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, tensors: &mut M) -> Result<Mtp<T>, M::Error> {
        Ok(Mtp { head: self.head.map(tensors)?, layer: self.layer.map(LAYER, tensors)? })
    }
}

impl<S: Storage> MtpHead<S> {
    fn map<T: Storage, M: MapTensors<S, T>>(&self, tensors: &mut M) -> Result<MtpHead<T>, M::Error> {
        let mut norm = |name: &str, vector| tensors.vector(&format!("mtp.{name}.weight"), vector);
        Ok(MtpHead {
            pre_fc_norm_embedding: norm("pre_fc_norm_embedding", &self.pre_fc_norm_embedding)?,
            pre_fc_norm_hidden: norm("pre_fc_norm_hidden", &self.pre_fc_norm_hidden)?,
            norm: norm("norm", &self.norm)?,
            fc: tensors.matrix("mtp.fc.weight", &self.fc)?,
        })
    }
}
