//! The feed-forward half of a layer, or an expert of it: `down(silu(gate(x)) · up(x))`.

use bevy_ecs::prelude::*;

use super::role::{MatrixRole, StreamNorm};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// `SwiGLU` weights.
#[derive(Component)]
pub struct Mlp<S: Storage> {
    /// `[intermediate_size, hidden_size]`
    pub gate_proj: S::Matrix,
    /// `[intermediate_size, hidden_size]`
    pub up_proj: S::Matrix,
    /// `[hidden_size, intermediate_size]`
    pub down_proj: S::Matrix,
}

impl Mlp<Shapes> {
    /// What `config` promises.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        Self::of_width(config.hidden_size, config.intermediate_size)
    }

    /// One of this width inside.
    pub(super) fn of_width(hidden: usize, intermediate: usize) -> Self {
        let reads = || Shape::new([intermediate, hidden], MatrixRole::Reads(StreamNorm::Mlp));
        Self { gate_proj: reads(), up_proj: reads(), down_proj: Shape::new([hidden, intermediate], MatrixRole::Writes) }
    }
}

impl<S: Storage> Mlp<S> {
    /// Turns every tensor into another storage's; `prefix` is what their names begin with, e.g. `layers.0.mlp`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, prefix: &str, tensors: &mut M) -> Result<Mlp<T>, M::Error> {
        self.map_with(prefix, |name, matrix| tensors.matrix(name, matrix))
    }

    /// Turns every tensor with `map`, by its name.
    pub(super) fn map_with<T: Storage, E>(
        &self,
        prefix: &str,
        mut map: impl FnMut(&str, &S::Matrix) -> Result<T::Matrix, E>,
    ) -> Result<Mlp<T>, E> {
        let mut matrix = |name: &str, matrix| map(&format!("{prefix}.{name}.weight"), matrix);
        Ok(Mlp {
            gate_proj: matrix("gate_proj", &self.gate_proj)?,
            up_proj: matrix("up_proj", &self.up_proj)?,
            down_proj: matrix("down_proj", &self.down_proj)?,
        })
    }
}
