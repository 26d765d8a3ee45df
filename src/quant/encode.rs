//! Weights → blocks. Which bytes come out is fixed by the format: other programs write the same ones.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::block::{BLOCK_LEN, Block};
use super::search;

/// How a block's codes are laid over the range of its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Code 0 is the smallest weight of the block and code 15 the largest.
    #[default]
    Asymmetric,
    /// Code 8 is zero, and 1 or 15 is the weight of the largest size. For rotated weights, which lie around zero.
    Symmetric,
}

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

/// A number that weights are stored as. Encoding is done in single precision, to which `f64` is rounded first.
pub trait Weight: Copy + Send + Sync + sealed::Sealed {
    /// The number in single precision, ties to even.
    fn to_f32(self) -> f32;

    /// `weights` in single precision, at the beginning of `out`.
    #[doc(hidden)]
    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        for (to, from) in out.iter_mut().zip(weights) {
            *to = from.to_f32();
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Weight for f32 {
    #[inline]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Weight for f64 {
    #[inline]
    fn to_f32(self) -> f32 {
        self as f32
    }
}

impl Weight for f16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        // Where the machine has instructions for it, this asks for them once, not for each weight.
        weights.convert_to_f32_slice(&mut out[..weights.len()]);
    }
}

impl Weight for bf16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
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

/// As many as fit two of the vector registers that every x86-64 has.
const LANES: usize = 8;

/// The index of the first weight that is infinite or not a number.
fn first_non_finite(weights: &[f32; BLOCK_LEN]) -> Option<usize> {
    let mut sizes = [0.0; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (size, weight) in sizes.iter_mut().zip(weights) {
            *size += weight.abs();
        }
    }
    // One test for all, since a sum of sizes is finite only if each is; a sum that overflows is looked into.
    if across(sizes, |a, b| a + b).is_finite() {
        return None;
    }
    weights.iter().position(|weight| !weight.is_finite())
}

/// The smallest and the largest weight; of zeros of both signs, the first one met.
pub(super) fn extremes(weights: &[f32]) -> (f32, f32) {
    let lesser = |a: f32, b: f32| if a < b { a } else { b };
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let (mut least, mut most) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let (whole, rest) = weights.as_chunks::<LANES>();
    for weights in whole {
        for lane in 0..LANES {
            least[lane] = lesser(weights[lane], least[lane]);
            most[lane] = greater(weights[lane], most[lane]);
        }
    }
    let minimum = rest.iter().copied().fold(across(least, lesser), lesser);
    let maximum = rest.iter().copied().fold(across(most, greater), greater);
    // Lanes have lost which zero came first.
    let zero = || weights.iter().copied().find(|weight| *weight == 0.0);
    let minimum = if minimum == 0.0 { zero().unwrap_or(minimum) } else { minimum };
    (minimum, maximum)
}

/// What is left of all lanes, two by two: half as many steps wait for one another as from the first to the last.
fn across(mut lanes: [f32; LANES], one_of: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = one_of(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// The size of the largest weight.
fn largest(weights: &[f32; BLOCK_LEN]) -> f32 {
    let mut sizes = [0.0; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (size, weight) in sizes.iter_mut().zip(weights) {
            let other = weight.abs();
            *size = if other > *size { other } else { *size };
        }
    }
    across(sizes, f32::max)
}

/// One where a scale would be zero in half precision: up to half of the least number it has, as ties go to even.
fn representable(scale: f32) -> f32 {
    const HALF_OF_LEAST: f32 = 1.0 / (1 << 25) as f32;
    if scale <= HALF_OF_LEAST { 1.0 } else { scale }
}

/// Singles from here on up to twice this are the integers; adding it rounds to an integer, ties to even, and leaves that
/// integer in the lowest bits. Conversions between floats and integers would do the same, but Rust's also say what
/// becomes of numbers that do not fit, which costs three times as much.
const INTEGERS: f32 = (1 << 23) as f32;

/// The nearest integer to a size below [`INTEGERS`], halves up.
fn round_size(size: f32) -> f32 {
    let even = (size + INTEGERS) - INTEGERS;
    even + if size - even >= 0.5 { 1.0 } else { 0.0 }
}

/// The nearest integer, halves away from zero, as `f32::round`; but this the compiler turns into vector instructions on
/// every machine.
pub(super) fn round(x: f32) -> f32 {
    round_size(x.abs()).copysign(x)
}

fn clamp_to_codes(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 15.0 { x } else { 15.0 }
}

/// The code that is nearest to `x`, halves up. Cutting off first comes to the same, and leaves no sign to look after.
pub(super) fn nearest_code(x: f32) -> f32 {
    round_size(clamp_to_codes(x))
}

/// The code that is nearest to `x`, halves to even.
pub(super) fn nearest_even_code(x: f32) -> f32 {
    (clamp_to_codes(x) + INTEGERS) - INTEGERS
}

/// A code as an integer.
pub(super) fn integer(code: f32) -> u8 {
    (code + INTEGERS).to_bits() as u8
}
