//! Turns mapped tensors into what the CPU kernels read: matrices of four bits are packed for the fast path, others are
//! read where they are, in their storage type; vectors become f32.

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use bevy_ecs::component::{Component, Immutable, StorageType};

use super::kernels::{Arena, Panel, PanelBox, Panels, WeightSlice, Weights, transpose_conv_weights};
use super::{Cpu, Workers, kernels};
use crate::checkpoint::{ElementType, Tensor};
use crate::quant::BLOCK_LEN;
use crate::world::parts::ModelParts;
use crate::world::role::VectorRole;
use crate::world::storage::{MapTensors, Mapped, StoredVector};

/// How weights of four bits are multiplied. Weights in other types are always multiplied as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// By activations in eight bits, from packed weights: the fast path.
    #[default]
    Fast,
    /// By activations in single precision, with weights as the file says them: the reference.
    Exact,
}

/// On the entity of a model on the CPU, it is how it computes in fact: without weights of four bits, there is nothing to make
/// fast.
impl Component for Numerics {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
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
    if let Some(blocks) = tensor.any_blocks() {
        return WeightSlice::Blocks { blocks, first: 0, len: tensor.len() };
    }
    let bytes = tensor.bytes();
    match tensor.element() {
        ElementType::F16 => WeightSlice::F16(bytemuck::cast_slice(bytes)),
        ElementType::Bf16 => WeightSlice::Bf16(bytemuck::cast_slice(bytes)),
        _ => WeightSlice::F32(bytemuck::cast_slice(bytes)),
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

    fn vector(&mut self, _: &str, vector: &StoredVector) -> Result<Box<[f32]>, Infallible> {
        let mut values = vector.tensor.to_f32();
        vector.role.make_arithmetic(&mut values);
        Ok(match (vector.role, vector.tensor.shape()) {
            (VectorRole::ConvTaps, &[.., kernel]) => transpose_conv_weights(&values, kernel).into(),
            _ => values.into(),
        })
    }
}

/// Counts the panels that a [`Packer`] will need.
struct PanelCount {
    panels: usize,
    numerics: Numerics,
}

impl MapTensors<Mapped, Mapped> for PanelCount {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Tensor, Infallible> {
        self.panels += panels_of(tensor.element(), tensor.shape(), self.numerics);
        Ok(tensor.clone())
    }

    fn vector(&mut self, _: &str, vector: &StoredVector) -> Result<StoredVector, Infallible> {
        Ok(vector.clone())
    }
}

/// Turns the mapped tensors of a model into their [`Cpu`] form, on the threads of `workers`. Layer by layer, the mapped
/// form goes, and with it the file's pages of all that was packed.
///
/// Returns how many bytes are packed, besides: none, unless weights have four bits and are to be multiplied fast.
///
/// # Errors
/// If there is no memory.
pub fn pack(
    parts: ModelParts<Mapped>,
    workers: &Workers,
    numerics: Numerics,
) -> Result<(ModelParts<Cpu>, usize), PackError> {
    let mut count = PanelCount { panels: 0, numerics };
    let Ok(_): Result<ModelParts<Mapped>, _> = parts.map(&mut count);
    let bytes = count.panels * size_of::<Panel>();
    let arena = Arena::new(count.panels).map_err(|source| PackError { bytes, source })?;
    let mut packer = Packer { arena, workers, numerics };
    let ModelParts { ends, layers } = parts;
    let Ok(ends) = ends.map(&mut packer);
    let layers = layers.into_iter().enumerate().map(|(index, layer)| {
        let Ok(packed) = layer.map(index, &mut packer);
        packed
    });
    Ok((ModelParts { ends, layers: layers.collect() }, bytes))
}
