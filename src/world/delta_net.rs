//! The mixer of a linear-attention layer: the gated delta net (Yang et al., "Gated Delta Networks", 2024), whose memory
//! is a fixed-size state instead of a cache that grows.

use bevy_ecs::prelude::*;

use super::role::{MatrixRole, StreamNorm, VectorRole};
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::ModelConfig;

/// Gated delta net weights. With `key_dim = num_key_heads · key_head_dim` and `value_dim` likewise, the convolution runs
/// over `channels = 2 · key_dim + value_dim`: queries, keys and values side by side.
#[derive(Component)]
pub struct DeltaNet<S: Storage> {
    /// `[channels, hidden_size]`
    pub in_proj_qkv: S::Matrix,
    /// The output gate, `[value_dim, hidden_size]`.
    pub in_proj_z: S::Matrix,
    /// How much is written, `[num_value_heads, hidden_size]`.
    pub in_proj_b: S::Matrix,
    /// How fast the state decays, `[num_value_heads, hidden_size]`.
    pub in_proj_a: S::Matrix,
    /// The causal convolution's taps, `[channels, 1, conv_kernel]`, oldest first.
    pub conv1d: S::Vector,
    /// `[num_value_heads]`
    pub a_log: S::Vector,
    /// `[num_value_heads]`
    pub dt_bias: S::Vector,
    /// The norm of each head's output, `[value_head_dim]`.
    pub norm: S::Vector,
    /// `[hidden_size, value_dim]`
    pub out_proj: S::Matrix,
}

impl DeltaNet<Shapes> {
    /// What `config` promises.
    ///
    /// # Panics
    /// If it has no dimensions of linear-attention layers.
    #[must_use]
    pub fn shapes(config: &ModelConfig) -> Self {
        let (hidden, net) = (config.hidden_size, config.linear_attention());
        let reads = |rows| Shape::new([rows, hidden], MatrixRole::Reads(StreamNorm::Mixer));
        Self {
            in_proj_qkv: reads(net.channels()),
            in_proj_z: reads(net.value_dim()),
            in_proj_b: reads(net.num_value_heads),
            in_proj_a: reads(net.num_value_heads),
            conv1d: Shape::new([net.channels(), 1, net.conv_kernel], VectorRole::ConvTaps),
            a_log: Shape::new([net.num_value_heads], VectorRole::LogDecay),
            dt_bias: Shape::new([net.num_value_heads], VectorRole::Bias),
            norm: Shape::new([net.value_head_dim], VectorRole::Norm),
            out_proj: Shape::new([hidden, net.value_dim()], MatrixRole::Writes),
        }
    }
}

impl<S: Storage> DeltaNet<S> {
    /// Turns every tensor into another storage's; `layer` prefixes their names, e.g. `layers.0`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, layer: &str, tensors: &mut M) -> Result<DeltaNet<T>, M::Error> {
        let name = |field: &str| format!("{layer}.linear_attn.{field}");
        Ok(DeltaNet {
            in_proj_qkv: tensors.matrix(&name("in_proj_qkv.weight"), &self.in_proj_qkv)?,
            in_proj_z: tensors.matrix(&name("in_proj_z.weight"), &self.in_proj_z)?,
            in_proj_b: tensors.matrix(&name("in_proj_b.weight"), &self.in_proj_b)?,
            in_proj_a: tensors.matrix(&name("in_proj_a.weight"), &self.in_proj_a)?,
            conv1d: tensors.vector(&name("conv1d.weight"), &self.conv1d)?,
            a_log: tensors.vector(&name("A_log"), &self.a_log)?,
            dt_bias: tensors.vector(&name("dt_bias"), &self.dt_bias)?,
            norm: tensors.vector(&name("norm.weight"), &self.norm)?,
            out_proj: tensors.matrix(&name("out_proj.weight"), &self.out_proj)?,
        })
    }
}
