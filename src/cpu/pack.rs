//! Turns mapped tensors into what the CPU kernels read. The exact path reads matrices where they are, in their storage
//! type; vectors become f32.

use std::convert::Infallible;
use std::ops::Range;

use bevy_ecs::prelude::*;

use super::Cpu;
use super::kernels::{WeightSlice, Weights, transpose_conv_weights};
use crate::checkpoint::{ElementType, Tensor};
use crate::world::attention::Attention;
use crate::world::delta_net::DeltaNet;
use crate::world::layer::LayerNorms;
use crate::world::mlp::Mlp;
use crate::world::model::Model;
use crate::world::storage::{MapTensors, Mapped};

/// A weight matrix `[rows, cols]` in its storage type.
#[derive(Clone, Debug)]
pub struct Matrix {
    tensor: Tensor,
}

impl Matrix {
    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tensor.shape()[0]
    }

    /// Input features.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.tensor.shape()[1]
    }

    /// All weights, row-major.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        self.weights_of(0..self.rows())
    }

    /// The weights of some rows.
    ///
    /// # Panics
    /// If there are no such rows.
    #[must_use]
    pub fn weights_of(&self, rows: Range<usize>) -> Weights<'_> {
        let size = self.cols() * self.tensor.element().size();
        let bytes = &self.tensor.bytes()[rows.start * size..rows.end * size];
        Weights::Stored(match self.tensor.element() {
            ElementType::F32 => WeightSlice::F32(bytemuck::cast_slice(bytes)),
            ElementType::F16 => WeightSlice::F16(bytemuck::cast_slice(bytes)),
            ElementType::Bf16 => WeightSlice::Bf16(bytemuck::cast_slice(bytes)),
        })
    }
}

struct Packer;

impl MapTensors<Mapped, Cpu> for Packer {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        Ok(Matrix { tensor: tensor.clone() })
    }

    fn vector(&mut self, _: &str, tensor: &Tensor) -> Result<Box<[f32]>, Infallible> {
        Ok(tensor.to_f32().into())
    }
}

/// Gives every mapped model and layer of `world` its [`Cpu`] form beside the mapped one.
pub fn pack(world: &mut World) {
    insert_packed(world, |model: &Model<Mapped>| {
        let mut model: Model<Cpu> = model.map(&mut Packer)?;
        shift(&mut model.norm);
        Ok(model)
    });
    insert_packed(world, |norms: &LayerNorms<Mapped>| {
        let mut norms: LayerNorms<Cpu> = norms.map("", &mut Packer)?;
        shift(&mut norms.input_layernorm);
        shift(&mut norms.post_attention_layernorm);
        Ok(norms)
    });
    insert_packed(world, |mlp: &Mlp<Mapped>| -> Result<Mlp<Cpu>, _> { mlp.map("", &mut Packer) });
    insert_packed(world, |attention: &Attention<Mapped>| {
        let mut attention: Attention<Cpu> = attention.map("", &mut Packer)?;
        shift(&mut attention.q_norm);
        shift(&mut attention.k_norm);
        Ok(attention)
    });
    insert_packed(world, |net: &DeltaNet<Mapped>| {
        let kernel = *net.conv1d.shape().last().unwrap_or(&1);
        let mut net: DeltaNet<Cpu> = net.map("", &mut Packer)?;
        net.conv1d = transpose_conv_weights(&net.conv1d, kernel).into();
        net.a_log.iter_mut().for_each(|a_log| *a_log = -a_log.exp());
        Ok(net)
    });
}

/// A shifted norm multiplies by `1 + weight`: that sum is what kernels get.
fn shift(norm: &mut [f32]) {
    norm.iter_mut().for_each(|weight| *weight += 1.0);
}

fn insert_packed<From: Component, To: Component>(world: &mut World, pack: impl Fn(&From) -> Result<To, Infallible>) {
    let packed: Vec<(Entity, To)> = world
        .query::<(Entity, &From)>()
        .iter(world)
        .map(|(entity, mapped)| {
            let Ok(packed) = pack(mapped);
            (entity, packed)
        })
        .collect();
    for (entity, packed) in packed {
        world.entity_mut(entity).insert(packed);
    }
}
