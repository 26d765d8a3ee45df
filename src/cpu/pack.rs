//! Turns mapped tensors into what the CPU kernels read: matrices of four bits are packed for the fast path, others are
//! read where they are, in their storage type; vectors become f32.

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use bevy_ecs::prelude::*;

use super::kernels::{Arena, Panel, PanelBox, Panels, WeightSlice, Weights, transpose_conv_weights};
use super::{Cpu, Workers, kernels, rope};
use crate::checkpoint::{ElementType, Tensor};
use crate::quant::BLOCK_LEN;
use crate::world::attention::Attention;
use crate::world::delta_net::DeltaNet;
use crate::world::layer::LayerNorms;
use crate::world::mlp::Mlp;
use crate::world::model::Model;
use crate::world::storage::{MapTensors, Mapped, Shapes};

/// How weights of four bits are multiplied. Weights in other types are always multiplied as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// By activations in eight bits, from packed weights: the fast path.
    #[default]
    Fast,
    /// By activations in single precision, with weights as the file says them: the reference.
    Exact,
}

/// There is no memory for the packed weights.
#[derive(Debug, thiserror::Error)]
#[error("cannot reserve {bytes} bytes for the packed weights")]
pub struct PackError {
    /// How much there should have been.
    pub bytes: usize,
    /// The system's answer.
    pub source: io::Error,
}

/// A weight matrix `[rows, cols]`.
#[derive(Debug)]
pub enum Matrix {
    /// In its storage type.
    Stored(Tensor),
    /// Of four bits, in memory of its own.
    Packed {
        /// As [`Panels`] lays them out.
        panels: PanelBox,
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
}

impl Matrix {
    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Stored(tensor) => tensor.shape()[0],
            Self::Packed { rows, .. } => *rows,
        }
    }

    /// Input features.
    #[must_use]
    pub fn cols(&self) -> usize {
        match self {
            Self::Stored(tensor) => tensor.shape()[1],
            Self::Packed { cols, .. } => *cols,
        }
    }

    /// All weights.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        self.weights_of(0..self.rows())
    }

    /// The weights of some rows.
    ///
    /// # Panics
    /// If there are no such rows, or they begin within a panel.
    #[must_use]
    pub fn weights_of(&self, rows: Range<usize>) -> Weights<'_> {
        let elements = rows.start * self.cols()..rows.end * self.cols();
        match self {
            Self::Packed { panels, rows: all, cols } => Weights::Packed(Panels::new(panels, *all, *cols).slice(rows)),
            Self::Stored(tensor) => Weights::Stored(stored(tensor).slice(elements)),
        }
    }
}

fn stored(tensor: &Tensor) -> WeightSlice<'_> {
    let bytes = tensor.bytes();
    match tensor.element() {
        ElementType::F32 => WeightSlice::F32(bytemuck::cast_slice(bytes)),
        ElementType::F16 => WeightSlice::F16(bytemuck::cast_slice(bytes)),
        ElementType::Bf16 => WeightSlice::Bf16(bytemuck::cast_slice(bytes)),
        ElementType::Q4 => WeightSlice::Q4 { blocks: bytemuck::cast_slice(bytes), first: 0, len: tensor.len() },
    }
}

/// Packs four-bit matrices whose rows are whole blocks, and leaves the others where they are.
struct Packer<'a> {
    arena: Arena,
    workers: &'a Workers,
    numerics: Numerics,
}

/// Panels of a matrix that is packed, none of one that is not.
pub(super) fn panels_of(element: ElementType, shape: &[usize], numerics: Numerics) -> usize {
    match (element, shape) {
        (ElementType::Q4, &[rows, cols]) if numerics == Numerics::Fast && cols.is_multiple_of(BLOCK_LEN) => {
            Panels::count(rows, cols)
        }
        _ => 0,
    }
}

impl MapTensors<Mapped, Cpu> for Packer<'_> {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        let count = panels_of(tensor.element(), tensor.shape(), self.numerics);
        let (Some(blocks), &[rows, cols], 1..) = (tensor.blocks(), tensor.shape(), count) else {
            return Ok(Matrix::Stored(tensor.clone()));
        };
        let mut panels = self.arena.take(count);
        self.workers.run(|_| kernels::pack(blocks, cols / BLOCK_LEN, &mut panels));
        Ok(Matrix::Packed { panels, rows, cols })
    }

    fn vector(&mut self, _: &str, tensor: &Tensor) -> Result<Box<[f32]>, Infallible> {
        Ok(tensor.to_f32().into())
    }
}

/// Counts the panels that a [`Packer`] will need.
struct PanelCount {
    panels: usize,
    numerics: Numerics,
}

impl MapTensors<Mapped, Shapes> for PanelCount {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Vec<usize>, Infallible> {
        self.panels += panels_of(tensor.element(), tensor.shape(), self.numerics);
        Ok(tensor.shape().to_vec())
    }

    fn vector(&mut self, _: &str, tensor: &Tensor) -> Result<Vec<usize>, Infallible> {
        Ok(tensor.shape().to_vec())
    }
}

/// Turns every mapped model and layer of `world` into its [`Cpu`] form, on the threads of its [`Workers`]. The mapped form
/// goes, piece by piece, and with it the file's pages of all that was packed.
///
/// Returns how many bytes are packed: none, unless weights have four bits and are to be multiplied fast.
///
/// # Errors
/// If there is no memory. The world is then as it was.
///
/// # Panics
/// If the world has no [`Workers`], which [`add_systems`](super::add_systems) brings.
pub fn pack(world: &mut World, numerics: Numerics) -> Result<usize, PackError> {
    let mut count = PanelCount { panels: 0, numerics };
    let Ok(()) = count_panels(world, &mut count);
    let bytes = count.panels * size_of::<Panel>();
    let arena = Arena::new(count.panels).map_err(|source| PackError { bytes, source })?;
    world.resource_scope(|world, workers: Mut<Workers>| {
        let Ok(()) = pack_all(world, &mut Packer { arena, workers: &workers, numerics });
    });
    rope::make_tables(world);
    Ok(bytes)
}

fn count_panels(world: &mut World, count: &mut PanelCount) -> Result<(), Infallible> {
    for model in world.query::<&Model<Mapped>>().iter(world) {
        let _: Model<Shapes> = model.map(count)?;
    }
    for mlp in world.query::<&Mlp<Mapped>>().iter(world) {
        let _: Mlp<Shapes> = mlp.map("", count)?;
    }
    for attention in world.query::<&Attention<Mapped>>().iter(world) {
        let _: Attention<Shapes> = attention.map("", count)?;
    }
    for net in world.query::<&DeltaNet<Mapped>>().iter(world) {
        let _: DeltaNet<Shapes> = net.map("", count)?;
    }
    Ok(())
}

fn pack_all(world: &mut World, packer: &mut Packer<'_>) -> Result<(), Infallible> {
    replace(world, |model: Model<Mapped>| {
        let mut model: Model<Cpu> = model.map(packer)?;
        shift(&mut model.norm);
        Ok(model)
    })?;
    replace(world, |norms: LayerNorms<Mapped>| {
        let mut norms: LayerNorms<Cpu> = norms.map("", packer)?;
        shift(&mut norms.input_layernorm);
        shift(&mut norms.post_attention_layernorm);
        Ok(norms)
    })?;
    replace(world, |mlp: Mlp<Mapped>| -> Result<Mlp<Cpu>, _> { mlp.map("", packer) })?;
    replace(world, |attention: Attention<Mapped>| {
        let mut attention: Attention<Cpu> = attention.map("", packer)?;
        shift(&mut attention.q_norm);
        shift(&mut attention.k_norm);
        Ok(attention)
    })?;
    replace(world, |net: DeltaNet<Mapped>| {
        let kernel = *net.conv1d.shape().last().unwrap_or(&1);
        let mut net: DeltaNet<Cpu> = net.map("", packer)?;
        net.conv1d = transpose_conv_weights(&net.conv1d, kernel).into();
        net.a_log.iter_mut().for_each(|a_log| *a_log = -a_log.exp());
        Ok(net)
    })
}

/// A shifted norm multiplies by `1 + weight`: that sum is what kernels get.
fn shift(norm: &mut [f32]) {
    norm.iter_mut().for_each(|weight| *weight += 1.0);
}

/// Replaces one component by another on every entity that has it, one entity after the other.
fn replace<From: Component, To: Component>(
    world: &mut World,
    mut turn: impl FnMut(From) -> Result<To, Infallible>,
) -> Result<(), Infallible> {
    let entities: Vec<Entity> = world.query_filtered::<Entity, With<From>>().iter(world).collect();
    for entity in entities {
        if let Some(from) = world.entity_mut(entity).take::<From>() {
            let to = turn(from)?;
            world.entity_mut(entity).insert(to);
        }
    }
    Ok(())
}
