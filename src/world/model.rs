//! The model entity: its configuration and the tensors that belong to no layer. Layers are its children, in order.

use bevy_ecs::component::{Component, Immutable, StorageType};

use super::storage::{MapTensors, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// The configuration is a component of the model entity, and never changes once spawned.
impl Component for ModelConfig {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

/// The two ends of the model.
#[derive(Component)]
pub struct Model<S: Storage> {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: S::Matrix,
    /// The final norm, `[hidden_size]`, shifted: multiplies by `1 + weight`.
    pub norm: S::Vector,
    /// `[vocab_size, hidden_size]`; `None` where the embedding serves as the head.
    pub lm_head: Option<S::Matrix>,
}

impl Model<Shapes> {
    /// The shapes that `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let matrix = vec![config.vocab_size, config.hidden_size];
        Self {
            embed_tokens: matrix.clone(),
            norm: vec![config.hidden_size],
            lm_head: (!config.tie_word_embeddings).then_some(matrix),
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
