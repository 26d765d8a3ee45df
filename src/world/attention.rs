//! The mixer of a full-attention layer: grouped queries over a cache of keys and values. Some families have an output gate,
//! and some normalise queries and keys.

use bevy_ecs::prelude::*;

use super::role::{MatrixRole, StreamNorm, VectorRole};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// Attention weights.
#[derive(Component)]
pub struct Attention<S: Storage> {
    /// `[num_heads · head_dim, hidden_size]`; with an output gate, query and gate interleaved per head:
    /// `[num_heads · 2 · head_dim, hidden_size]`.
    pub q_proj: S::Matrix,
    /// `[num_kv_heads · head_dim, hidden_size]`
    pub k_proj: S::Matrix,
    /// `[num_kv_heads · head_dim, hidden_size]`
    pub v_proj: S::Matrix,
    /// `[hidden_size, num_heads · head_dim]`
    pub o_proj: S::Matrix,
    /// Where queries and keys are normalised.
    pub qk_norm: Option<QkNorm<S>>,
}

/// The norms of queries and of keys.
pub struct QkNorm<S: Storage> {
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
        let (query_dim, key_dim) = (attention.query_dim(), attention.key_dim());
        let reads = |rows| Shape::new([rows, hidden], MatrixRole::Reads(StreamNorm::Mixer));
        let norm = || Shape::new([attention.head_dim], VectorRole::of_norm(config));
        Self {
            q_proj: reads(attention.projected_query_dim()),
            k_proj: reads(key_dim),
            v_proj: reads(key_dim),
            o_proj: Shape::new([hidden, query_dim], MatrixRole::Writes),
            qk_norm: attention.qk_norm.then(|| QkNorm { q_norm: norm(), k_norm: norm() }),
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
            qk_norm: match &self.qk_norm {
                Some(norms) => Some(norms.map(name, tensors)?),
                None => None,
            },
        })
    }
}

impl<S: Storage> QkNorm<S> {
    fn map<T: Storage, M: MapTensors<S, T>>(
        &self,
        name: impl Fn(&str) -> String,
        tensors: &mut M,
    ) -> Result<QkNorm<T>, M::Error> {
        Ok(QkNorm {
            q_norm: tensors.vector(&name("q_norm"), &self.q_norm)?,
            k_norm: tensors.vector(&name("k_norm"), &self.k_norm)?,
        })
    }
}
