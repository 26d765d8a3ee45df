//! The model entity: its configuration, the tensors that belong to no layer, and what turns text into tokens and back.
//! Layers are its children, in order.

use bevy_ecs::component::{Component, Immutable, StorageType};
use bevy_ecs::prelude::*;

use super::role::{MatrixRole, StreamNorm, VectorRole};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::{ChatTemplate, ModelConfig, Tokenizer};
use crate::sampling::Sampling;

/// The configuration is a component of the model entity, and never changes once spawned.
impl Component for ModelConfig {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

/// Turns prompts into tokens and tokens into text, where the model has one.
impl Component for Tokenizer {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

/// Writes conversations as the model was trained to read them, where it has one.
impl Component for ChatTemplate {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

/// On the model of the step in hand.
#[derive(Component, Clone, Copy, Debug)]
#[component(storage = "SparseSet")]
pub struct ActiveModel;

/// On a model that cannot compute for now, and why: its device is lost, or has no memory. Its sequences wait, with the text
/// that they have, until [`LoadedModel::revive`](crate::LoadedModel::revive) gives it another.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Unavailable(pub String);

/// How far a model is. An entity may be named as one from the moment on that it has this: until it is ready, whoever
/// speaks with it waits.
///
/// Whoever loads a model elsewhere spawns it as [`Loading`](Self::Loading), and has
/// [`LoadedModel::insert`](crate::LoadedModel::insert) make it [`Ready`](Self::Ready).
#[derive(Component, Clone, Debug, PartialEq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub enum ModelState {
    /// It is to come, and this share of its weights has been read. At 1, what is left is to bring them into the form that its
    /// backend reads.
    Loading(f32),
    /// It is there.
    Ready,
    /// It will not come, and why. Sequences that speak with it are refused.
    Failed(String),
}

/// On a model of whose vocabulary the first so many tokens alone get logits.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[component(immutable)]
pub struct HeadRows(pub usize);

/// The model of the step in hand, if it has the components `D`.
pub type OnModel<'w, 's, D> = Single<'w, 's, D, With<ActiveModel>>;

/// What the model's makers generate with: what holds for a sequence that does not say otherwise.
#[derive(Component, Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct GenerationDefaults {
    /// How tokens are picked.
    pub sampling: Sampling,
    /// At most this many new tokens; `None` is as far as the context goes.
    pub max_new_tokens: Option<usize>,
    /// What ends a text.
    pub end_tokens: Vec<u32>,
    /// What ends an answer in a conversation.
    pub chat_end_tokens: Vec<u32>,
}

/// The two ends of the model.
#[derive(Component)]
pub struct Model<S: Storage> {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: S::Matrix,
    /// The final norm, `[hidden_size]`.
    pub norm: S::Vector,
    /// `[vocab_size, hidden_size]`; `None` where the embedding serves as the head.
    pub lm_head: Option<S::Matrix>,
}

impl Model<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let matrix = |role| Shape::new([config.vocab_size, config.hidden_size], role);
        Self {
            embed_tokens: matrix(MatrixRole::Embeds),
            norm: Shape::new([config.hidden_size], VectorRole::of_norm(config)),
            lm_head: (!config.tie_word_embeddings).then(|| matrix(MatrixRole::Reads(StreamNorm::Final))),
        }
    }
}

impl<S: Storage> Model<S> {
    /// The matrix that turns the last hidden state into logits: `lm_head`, or the embedding where they are tied.
    pub fn head(&self) -> &S::Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// Turns every tensor into another storage's.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, tensors: &mut M) -> Result<Model<T>, M::Error> {
        Ok(Model {
            embed_tokens: tensors.matrix("embed_tokens.weight", &self.embed_tokens)?,
            norm: tensors.vector("norm.weight", &self.norm)?,
            lm_head: match &self.lm_head {
                Some(head) => Some(tensors.matrix("lm_head.weight", head)?),
                None => None,
            },
        })
    }
}
