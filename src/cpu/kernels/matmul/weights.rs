//! Matrices as products read them.

use std::ops::Range;

use half::{bf16, f16};

use super::super::isa::Isa;
use super::super::matmul_packed::Panels;
use crate::quant::Blocks;

/// A matrix in its storage type, row-major.
#[derive(Clone, Copy, Debug)]
pub enum WeightSlice<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// The upper half of single precision.
    Bf16(&'a [bf16]),
    /// `len` weights from the flat index `first` of a tensor on, which may lie within a block.
    Blocks {
        /// All blocks of the tensor.
        blocks: Blocks<'a>,
        /// The first weight.
        first: usize,
        /// How many.
        len: usize,
    },
}

impl<'a> WeightSlice<'a> {
    /// The number of weights.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
            Self::Bf16(weights) => weights.len(),
            Self::Blocks { len, .. } => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the weights.
    ///
    /// # Panics
    /// If there are no such weights.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> WeightSlice<'a> {
        match self {
            Self::F32(weights) => WeightSlice::F32(&weights[range]),
            Self::F16(weights) => WeightSlice::F16(&weights[range]),
            Self::Bf16(weights) => WeightSlice::Bf16(&weights[range]),
            Self::Blocks { blocks, first, len } => {
                assert!(range.start <= range.end && range.end <= *len, "{range:?} of {len} weights");
                WeightSlice::Blocks { blocks: *blocks, first: first + range.start, len: range.len() }
            }
        }
    }

    /// Bytes that the weights take.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::F32(weights) => size_of_val(*weights),
            Self::F16(weights) => size_of_val(*weights),
            Self::Bf16(weights) => size_of_val(*weights),
            Self::Blocks { blocks, len, .. } => len.div_ceil(blocks.block_len()) * blocks.block_size(),
        }
    }
}

/// A matrix, `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// In its storage type.
    Stored(WeightSlice<'a>),
    /// In blocks, packed for the fast path.
    Packed(Panels<'a>),
    /// In BF16, row-major, for the fast path of instruction sets that [have one](Isa::multiplies_bf16); others
    /// multiply them as they are stored.
    Brain(&'a [bf16]),
}

impl Weights<'_> {
    /// The number of weights.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "matrices have rows")]
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(weights) => weights.len(),
            Self::Packed(panels) => panels.rows() * panels.cols(),
            Self::Brain(weights) => weights.len(),
        }
    }

    /// The same, but those in BF16 as they are stored where the instruction set has no products of BF16.
    pub(super) fn as_read_by(self, isa: Isa) -> Self {
        match self {
            Self::Brain(weights) if !isa.multiplies_bf16() => Self::Stored(WeightSlice::Bf16(weights)),
            other => other,
        }
    }

    /// Some of the rows of a matrix of `cols` columns. Of packed ones, the first must begin a panel.
    pub(super) fn rows(&self, rows: Range<usize>, cols: usize) -> Self {
        match self {
            Self::Stored(weights) => Self::Stored(weights.slice(rows.start * cols..rows.end * cols)),
            Self::Packed(panels) => Self::Packed(panels.slice(rows)),
            Self::Brain(weights) => Self::Brain(&weights[rows.start * cols..rows.end * cols]),
        }
    }

    /// Bytes that the weights take.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Stored(weights) => weights.size(),
            Self::Packed(panels) => panels.size(),
            Self::Brain(weights) => size_of_val(*weights),
        }
    }
}
