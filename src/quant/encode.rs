//! Weights → blocks. Which bytes come out is fixed by the format: other programs write the same ones.

use half::f16;

use super::block::{BLOCK_LEN, Block};
use super::codes::{Encoding, clamp_to_codes, extremes, first_non_finite, integer, largest, nearest_code, round};
use super::search;
use super::weight::Weight;

/// How a block's scale and bias are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// From the extreme weights: no weight is off by more than about half a step. What lattice writes, to the byte.
    #[default]
    MinMax,
    /// Those among many that make the sum of the squared errors least; never worse than [`Search::MinMax`] in this sum.
    LeastSquares,
}

/// Why weights cannot be encoded. Positions count from the first weight given.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A weight that is infinite or not a number, or that is so in single precision.
    #[error("block {block}: expected finite weights, found {value} at element {index}")]
    NonFinite {
        /// The block.
        block: usize,
        /// The weight's flat index.
        index: usize,
        /// The weight in single precision.
        value: f32,
    },
    /// Weights so far apart that their scale is infinite in half precision.
    #[error("block {block}: expected a scale that fits half precision, found {scale}")]
    Scale {
        /// The block.
        block: usize,
        /// The scale in single precision.
        scale: f32,
    },
    /// A bias that is infinite in half precision.
    #[error("block {block}: expected a bias that fits half precision, found {bias}")]
    Bias {
        /// The block.
        block: usize,
        /// The bias in single precision.
        bias: f32,
    },
}

impl QuantError {
    /// The same with positions that count from `blocks` blocks earlier on.
    #[must_use]
    pub(crate) fn after_blocks(mut self, blocks: usize) -> Self {
        if let Self::NonFinite { index, .. } = &mut self {
            *index += blocks * BLOCK_LEN;
        }
        let (Self::NonFinite { block, .. } | Self::Scale { block, .. } | Self::Bias { block, .. }) = &mut self;
        *block += blocks;
        self
    }
}

/// Encodes a flat, row-major tensor: `ceil(weights.len() / 32)` blocks.
///
/// # Errors
/// The first weight that is not finite, or the first block whose scale or bias does not fit half precision.
pub fn quantize<W: Weight>(weights: &[W], encoding: Encoding, search: Search) -> Result<Vec<Block>, QuantError> {
    let mut blocks = vec![bytemuck::Zeroable::zeroed(); weights.len().div_ceil(BLOCK_LEN)];
    quantize_into(weights, encoding, search, &mut blocks)?;
    Ok(blocks)
}

/// As [`quantize`], into memory that is there.
///
/// # Errors
/// As [`quantize`]; some blocks are then written and others not.
///
/// # Panics
/// If `blocks` is not of the right length.
pub fn quantize_into<W: Weight>(
    weights: &[W],
    encoding: Encoding,
    search: Search,
    blocks: &mut [Block],
) -> Result<(), QuantError> {
    assert_eq!(blocks.len(), weights.len().div_ceil(BLOCK_LEN), "a block for each {BLOCK_LEN} weights");
    for (index, (weights, block)) in weights.chunks(BLOCK_LEN).zip(blocks).enumerate() {
        let mut padded = [0.0; BLOCK_LEN];
        match weights.as_array::<BLOCK_LEN>() {
            // The same, with a length that the compiler knows.
            Some(whole) => W::widen(whole, &mut padded),
            None => W::widen(weights, &mut padded),
        }
        if let Some(at) = first_non_finite(&padded) {
            return Err(QuantError::NonFinite { block: index, index: index * BLOCK_LEN + at, value: padded[at] });
        }
        let plain = Steps::from_extremes(&padded, weights.len(), encoding);
        *block = plain.encode(&padded, index)?;
        if search == Search::LeastSquares {
            *block = search::improve(&padded, weights.len(), encoding, *block);
        }
    }
    Ok(())
}

/// The line that a block's codes lie on, before it is rounded to half precision.
struct Steps {
    scale: f32,
    /// What code 0 stands for in the formula of the codes.
    bias: f32,
    encoding: Encoding,
}

impl Steps {
    fn from_extremes(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Asymmetric => {
                let (minimum, maximum) = extremes(&padded[..count]);
                Self { scale: representable((maximum - minimum) / 15.0), bias: minimum, encoding }
            }
            Encoding::Symmetric => {
                let scale = representable(largest(padded) / 7.0);
                Self { scale, bias: -8.0 * scale, encoding }
            }
        }
    }

    /// Codes come from the line as it is; only what is stored is rounded.
    fn encode(&self, padded: &[f32; BLOCK_LEN], block: usize) -> Result<Block, QuantError> {
        let (scale, bias) = (f16::from_f32(self.scale), f16::from_f32(self.bias));
        if !(scale.is_finite() && scale > f16::ZERO) {
            return Err(QuantError::Scale { block, scale: self.scale });
        }
        if !bias.is_finite() {
            return Err(QuantError::Bias { block, bias: self.bias });
        }
        let inverse = 1.0 / self.scale;
        let mut codes = [0; BLOCK_LEN];
        match self.encoding {
            Encoding::Asymmetric => {
                for (code, weight) in codes.iter_mut().zip(padded) {
                    *code = integer(nearest_code((weight - self.bias) * inverse));
                }
            }
            Encoding::Symmetric => {
                for (code, weight) in codes.iter_mut().zip(padded) {
                    *code = integer(clamp_to_codes(round(weight * inverse) + 8.0));
                }
            }
        }
        Ok(Block::new(scale, bias, codes))
    }
}

/// One where a scale would be zero in half precision: up to half of the least number it has, as ties go to even.
fn representable(scale: f32) -> f32 {
    const HALF_OF_LEAST: f32 = 1.0 / (1 << 25) as f32;
    if scale <= HALF_OF_LEAST { 1.0 } else { scale }
}
