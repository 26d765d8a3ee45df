//! Turns mapped tensors into what the CPU kernels read: matrices in blocks are packed for the fast path, others are read
//! where they lie, in their storage type; vectors become f32.

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use bevy_ecs::component::{Component, Immutable, StorageType};

use super::kernels::{Arena, PackedFormat, PanelBox, Panels, WeightSlice, Weights, transpose_conv_weights};
use super::lazy::LazyPanels;
use super::{Cpu, Isa, Workers, kernels};
use crate::checkpoint::{ElementType, Tensor};
use crate::world::parts::{ModelParts, layer_name};
use crate::world::role::VectorRole;
use crate::world::storage::{MapTensors, Mapped, StoredVector};

/// How weights are multiplied where there are two ways: in blocks of few bits each, or in BF16 on a processor that
/// [multiplies those](super::Isa::multiplies_bf16). All others are multiplied in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// By activations in eight bits from packed weights, or by activations in BF16: the fast paths.
    #[default]
    Fast,
    /// By activations in single precision, with weights as the file says them: the reference.
    Exact,
}

/// On the entity of a model on the CPU, it is how it computes in fact: without such weights, there is nothing to make fast.
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
    /// In BF16, to be multiplied by activations in BF16.
    Brain(Tensor),
    /// In blocks, in memory of its own.
    Packed {
        /// As [`Panels`] lays them out.
        panels: PanelBox,
        /// What they are.
        format: PackedFormat,
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// In blocks, an expert's: packed when it is first read.
    Lazy(Box<LazyPanels>),
}

impl Matrix {
    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Stored(tensor) | Self::Brain(tensor) => tensor.shape()[0],
            Self::Packed { rows, .. } => *rows,
            Self::Lazy(lazy) => lazy.rows,
        }
    }

    /// Input features.
    #[must_use]
    pub fn cols(&self) -> usize {
        match self {
            Self::Stored(tensor) | Self::Brain(tensor) => tensor.shape()[1],
            Self::Packed { cols, .. } => *cols,
            Self::Lazy(lazy) => lazy.cols,
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
            Self::Packed { panels, format, rows: all, cols } => {
                Weights::Packed(Panels::new(panels, *format, *all, *cols).slice(rows))
            }
            Self::Stored(tensor) => Weights::Stored(stored(tensor).slice(elements)),
            Self::Brain(tensor) => Weights::Brain(&bytemuck::cast_slice(tensor.bytes())[elements]),
            Self::Lazy(lazy) => Weights::Packed(lazy.panels().slice(rows)),
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

/// Packs matrices in blocks, if their rows are whole ones, and leaves the others where they are.
struct Packer<'a> {
    arena: Arena,
    /// Of experts, which take memory when they are packed.
    experts: Arena,
    workers: &'a Workers,
    numerics: Numerics,
    /// How matrices so far are multiplied: fast, if any is.
    found: Numerics,
}

impl Packer<'_> {
    /// A matrix that is read where it lies.
    fn in_place(&mut self, tensor: &Tensor) -> Matrix {
        if is_brain(tensor.element(), self.numerics, self.workers.isa()) {
            self.found = Numerics::Fast;
            return Matrix::Brain(tensor.clone());
        }
        Matrix::Stored(tensor.clone())
    }
}

/// Whether a matrix stored so is multiplied by activations in BF16.
pub(super) fn is_brain(element: ElementType, numerics: Numerics, isa: Isa) -> bool {
    element == ElementType::Bf16 && numerics == Numerics::Fast && isa.multiplies_bf16()
}

/// What a tensor stored so is packed as.
fn packed_format(element: ElementType) -> Option<PackedFormat> {
    match element {
        ElementType::F32 | ElementType::F16 | ElementType::Bf16 => None,
        ElementType::Q4 | ElementType::Q4_1 => Some(PackedFormat::Q4),
        ElementType::Q4_0 => Some(PackedFormat::Q4_0),
        ElementType::Q8_0 => Some(PackedFormat::Q8_0),
        ElementType::Q4K => Some(PackedFormat::Q4K),
        ElementType::Q5K => Some(PackedFormat::Q5K),
        ElementType::Q6K => Some(PackedFormat::Q6K),
    }
}

/// The bytes that a matrix takes when it is packed; `None` of one that is not.
pub(super) fn packed_bytes(element: ElementType, shape: &[usize], numerics: Numerics) -> Option<usize> {
    let format = packed_format(element)?;
    let [of_all @ .., rows, cols] = shape else { return None };
    let bytes = of_all.iter().try_fold(format.bytes(*rows, *cols)?, |bytes, &count| bytes.checked_mul(count))?;
    Some(bytes).filter(|&bytes| numerics == Numerics::Fast && bytes > 0)
}

impl MapTensors<Mapped, Cpu> for Packer<'_> {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        let bytes = packed_bytes(tensor.element(), tensor.shape(), self.numerics);
        let (Some(bytes), Some(blocks), &[rows, cols]) = (bytes, tensor.any_blocks(), tensor.shape()) else {
            return Ok(self.in_place(tensor));
        };
        self.found = Numerics::Fast;
        let mut panels = self.arena.take(bytes);
        self.workers.run(|_| kernels::pack(blocks, cols, &mut panels));
        Ok(Matrix::Packed { panels, format: PackedFormat::of(&blocks), rows, cols })
    }

    fn expert(&mut self, _: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        let bytes = packed_bytes(tensor.element(), tensor.shape(), self.numerics);
        let (Some(bytes), Some(format)) = (bytes, packed_format(tensor.element())) else {
            return Ok(self.in_place(tensor));
        };
        self.found = Numerics::Fast;
        Ok(Matrix::Lazy(Box::new(LazyPanels::new(tensor.clone(), format, self.experts.take(bytes)))))
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

/// Counts the bytes that a [`Packer`] will need.
struct PackedBytes {
    pieces: Vec<usize>,
    experts: Vec<usize>,
    numerics: Numerics,
}

impl MapTensors<Mapped, Mapped> for PackedBytes {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, tensor: &Tensor) -> Result<Tensor, Infallible> {
        self.pieces.extend(packed_bytes(tensor.element(), tensor.shape(), self.numerics));
        Ok(tensor.clone())
    }

    fn expert(&mut self, _: &str, tensor: &Tensor) -> Result<Tensor, Infallible> {
        self.experts.extend(packed_bytes(tensor.element(), tensor.shape(), self.numerics));
        Ok(tensor.clone())
    }

    fn vector(&mut self, _: &str, vector: &StoredVector) -> Result<StoredVector, Infallible> {
        Ok(vector.clone())
    }
}

/// Turns the mapped tensors of a model into their [`Cpu`] form, on the threads of `workers`. Layer by layer, the mapped
/// form goes, and with it the file's pages of all that was packed. Experts are packed when they are first read.
///
/// Returns how they are multiplied in fact, besides: exactly, unless some of them are multiplied fast.
///
/// # Errors
/// If there is no memory.
pub fn pack(
    parts: ModelParts<Mapped>,
    workers: &Workers,
    numerics: Numerics,
) -> Result<(ModelParts<Cpu>, Numerics), PackError> {
    let mut count = PackedBytes { pieces: Vec::new(), experts: Vec::new(), numerics };
    let Ok(_): Result<ModelParts<Mapped>, _> = parts.map(&mut count);
    let bytes = count.pieces.iter().chain(&count.experts).sum();
    let failed = |source| PackError { bytes, source };
    let arena = Arena::new(count.pieces).map_err(failed)?;
    let experts = Arena::for_some_of(count.experts).map_err(failed)?;
    let mut packer = Packer { arena, experts, workers, numerics, found: Numerics::Exact };
    let ModelParts { ends, layers, mtp } = parts;
    let Ok(ends) = ends.map(&mut packer);
    let layers = layers.into_iter().enumerate().map(|(index, layer)| {
        let Ok(packed) = layer.map(&layer_name(index), &mut packer);
        packed
    });
    let layers = layers.collect();
    let mtp = mtp.map(|mtp| {
        let Ok(packed) = mtp.map(&mut packer);
        packed
    });
    Ok((ModelParts { ends, layers, mtp }, packer.found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::ggml::testing::AnyBlocks;

    const ELEMENTS: [ElementType; AnyBlocks::KINDS] =
        [ElementType::Q4_0, ElementType::Q4_1, ElementType::Q8_0, ElementType::Q4K, ElementType::Q5K, ElementType::Q6K];

    #[test]
    fn every_type_of_block_is_packed_as_was_predicted_unless_numbers_are_to_be_exact() {
        let workers = Workers::new(2, Isa::default()).unwrap();
        for (kind, element) in ELEMENTS.into_iter().enumerate() {
            let bytes = AnyBlocks::random(kind, 3, 40 * 512).bytes().to_vec();
            let tensor = Tensor::new("t", element, vec![40, 512], bytes.into()).unwrap();
            let exact = tensor.to_f32();
            for numerics in [Numerics::Fast, Numerics::Exact] {
                let bytes = packed_bytes(element, tensor.shape(), numerics);
                let arena = Arena::new(bytes).unwrap();
                let experts = Arena::for_some_of(bytes).unwrap();
                let mut packer = Packer { arena, experts, workers: &workers, numerics, found: Numerics::Exact };
                let (Ok(matrix), Ok(expert)) = (packer.matrix("t", &tensor), packer.expert("t", &tensor));
                assert_eq!((matrix.rows(), matrix.cols()), (40, 512));
                let packed = matches!(matrix, Matrix::Packed { .. });
                assert_eq!((packed, bytes.is_some()), (numerics == Numerics::Fast, packed), "{element}");
                let size = bytes.unwrap_or(tensor.bytes().len());
                assert_eq!(matrix.weights().size(), size, "{element}");
                let mut rows = vec![0.0; 2 * 512];
                kernels::embed(matrix.weights(), 512, &[39, 7], &mut rows);
                assert_eq!(rows, [&exact[39 * 512..], &exact[7 * 512..8 * 512]].concat(), "{element}");

                let is_packed = |expert: &Matrix| matches!(expert, Matrix::Lazy(lazy) if lazy.is_packed());
                assert_eq!((expert.rows(), expert.cols(), is_packed(&expert)), (40, 512, false));
                let mut of_expert = vec![0.0; 2 * 512];
                kernels::embed(expert.weights(), 512, &[39, 7], &mut of_expert);
                assert_eq!((of_expert == rows, is_packed(&expert)), (true, packed), "{element}");
            }
        }
    }

    #[test]
    fn matrices_in_bf16_are_multiplied_fast_by_processors_that_do_and_unless_numbers_are_to_be_exact() {
        let tensor = Tensor::new("t", ElementType::Bf16, vec![2, 3], vec![0; 12].into()).unwrap();
        for isa in Isa::available().into_iter().chain(Isa::with_bf16()) {
            let workers = Workers::new(1, isa).unwrap();
            for numerics in [Numerics::Fast, Numerics::Exact] {
                let arena = || Arena::new(None).unwrap();
                let (arena, experts) = (arena(), arena());
                let mut packer = Packer { arena, experts, workers: &workers, numerics, found: Numerics::Exact };
                let (Ok(matrix), Ok(expert)) = (packer.matrix("t", &tensor), packer.expert("t", &tensor));
                let fast = isa.multiplies_bf16() && numerics == Numerics::Fast;
                assert_eq!(packer.found == Numerics::Fast, fast, "{isa}");
                for matrix in [matrix, expert] {
                    assert_eq!(matches!(matrix, Matrix::Brain(_)), fast, "{isa}");
                    assert_eq!((matrix.rows(), matrix.cols(), matrix.weights_of(1..2).size()), (2, 3, 6));
                }
            }
        }
    }

    #[test]
    fn rows_of_our_own_blocks_that_are_not_whole_are_not_packed() {
        assert_eq!(packed_bytes(ElementType::Q4, &[3, 40], Numerics::Fast), None);
        assert_eq!(packed_bytes(ElementType::Q4, &[3, 64], Numerics::Fast), Some(2 * 320));
        assert_eq!(packed_bytes(ElementType::Bf16, &[3, 64], Numerics::Fast), None);
        assert_eq!(packed_bytes(ElementType::Q8_0, &[64], Numerics::Fast), None);
    }
}
