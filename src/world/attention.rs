//! The mixer of a full-attention layer: grouped queries over a cache of keys and values, with an output gate.

use bevy_ecs::prelude::*;

use super::role::{MatrixRole, StreamNorm, VectorRole};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// Gated attention weights.
#[derive(Component)]
pub struct Attention<S: Storage> {
    /// Query and gate, interleaved per head: `[num_heads · 2 · head_dim, hidden_size]`.
    pub q_proj: S::Matrix,
    /// `[num_kv_heads · head_dim, hidden_size]`
    pub k_proj: S::Matrix,
    /// `[num_kv_heads · head_dim, hidden_size]`
    pub v_proj: S::Matrix,
    /// `[hidden_size, num_heads · head_dim]`
    pub o_proj: S::Matrix,
    /// Of each query head, `[head_dim]`.
    pub q_norm: S::Vector,
    /// Of each key head, `[head_dim]`.
    pub k_norm: S::Vector,
}

impl Attention<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let (hidden, attention) = (config.hidden_size, &config.attention);
        let query_dim = attention.num_heads * attention.head_dim;
        let key_dim = attention.num_kv_heads * attention.head_dim;
        let reads = |rows| Shape::new([rows, hidden], MatrixRole::Reads(StreamNorm::Mixer));
        let norm = || Shape::new([attention.head_dim], VectorRole::ShiftedNorm);
        Self {
            q_proj: reads(2 * query_dim),
            k_proj: reads(key_dim),
            v_proj: reads(key_dim),
            o_proj: Shape::new([hidden, query_dim], MatrixRole::Writes),
            q_norm: norm(),
            k_norm: norm(),
        }
    }
}

impl<S: Storage> Attention<S> {
    /// Turns every tensor into another storage's; `layer` prefixes their names, e.g. `layers.3`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, layer: &str, tensors: &mut M) -> Result<Attention<T>, M::Error> {
        let name = |field: &str| format!("{layer}.self_attn.{field}.weight");
        Ok(Attention {
            q_proj: tensors.matrix(&name("q_proj"), &self.q_proj)?,
            k_proj: tensors.matrix(&name("k_proj"), &self.k_proj)?,
            v_proj: tensors.matrix(&name("v_proj"), &self.v_proj)?,
            o_proj: tensors.matrix(&name("o_proj"), &self.o_proj)?,
            q_norm: tensors.vector(&name("q_norm"), &self.q_norm)?,
            k_norm: tensors.vector(&name("k_norm"), &self.k_norm)?,
        })
    }
}
