//! How weights are stored on a device.

use std::fmt;

use crate::checkpoint::ElementType;
use crate::quant::BLOCK_LEN;
use crate::quant::ggml::QK_K;

/// How the weights of a matrix are stored on a device: codes in one plane and, where there are any, what they are multiplied
/// with in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper halves of singles.
    Bf16,
    /// Four bits with a scale and a bias: our own blocks, and ggml's Q4_0 and Q4_1.
    Q4,
    /// Eight bits with a scale.
    Q8_0,
    /// Four bits, and for each 32 a scale and a minimum of six bits.
    Q4K,
    /// Five bits, and for each 32 a scale and a minimum of six bits.
    Q5K,
    /// Six bits, and for each 16 a scale of eight bits.
    Q6K,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q4, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K];

    /// That of a matrix whose tensor is stored as `element`, in rows of `cols`.
    ///
    /// Blocks of our own lie over the flat tensor. Where they straddle rows, no row can be read by itself: such matrices,
    /// which no published model has, are widened.
    #[must_use]
    pub fn of(element: ElementType, cols: usize) -> Self {
        match element {
            ElementType::Q4 if !cols.is_multiple_of(BLOCK_LEN) => Self::F32,
            ElementType::F32 => Self::F32,
            ElementType::F16 => Self::F16,
            ElementType::Bf16 => Self::Bf16,
            ElementType::Q4 | ElementType::Q4_0 | ElementType::Q4_1 => Self::Q4,
            ElementType::Q8_0 => Self::Q8_0,
            ElementType::Q4K => Self::Q4K,
            ElementType::Q5K => Self::Q5K,
            ElementType::Q6K => Self::Q6K,
        }
    }

    /// Weights that lie together. The last ones of a row are filled up with zeros, if that can happen.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q4 | Self::Q8_0 => BLOCK_LEN,
            Self::Q4K | Self::Q5K | Self::Q6K => QK_K,
        }
    }

    /// Bytes of the codes of a row.
    #[must_use]
    pub fn code_bytes(self, cols: usize) -> usize {
        let bits = match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Q4 | Self::Q4K => 4,
            Self::Q8_0 => 8,
            Self::Q5K => 5,
            Self::Q6K => 6,
        };
        cols.div_ceil(self.block_len()) * (self.block_len() / 8 * bits)
    }

    /// Bytes of what the codes of a row are multiplied with; none, unless it is a plane of its own.
    #[must_use]
    pub fn factor_bytes(self, cols: usize) -> usize {
        let of_block = match self {
            Self::F32 | Self::F16 | Self::Bf16 => 0,
            Self::Q4 | Self::Q8_0 => 4,
            Self::Q4K | Self::Q5K | Self::Q6K => 20,
        };
        cols.div_ceil(self.block_len()) * of_block
    }

    /// Whether there is a plane of what codes are multiplied with.
    #[must_use]
    pub fn has_factors(self) -> bool {
        self.factor_bytes(1) > 0
    }

    /// How shaders read it.
    pub(super) const fn sources(self) -> &'static [&'static str] {
        match self {
            Self::F32 => &[include_str!("../../shaders/shared/f32.wgsl")],
            Self::F16 => &[include_str!("../../shaders/shared/f16.wgsl")],
            Self::Bf16 => &[include_str!("../../shaders/shared/bf16.wgsl")],
            Self::Q4 => &[include_str!("../../shaders/shared/q4.wgsl"), BIASED],
            Self::Q4K => &[include_str!("../../shaders/shared/q4_k.wgsl"), BIASED],
            Self::Q5K => &[include_str!("../../shaders/shared/q5_k.wgsl"), BIASED],
            Self::Q8_0 => &[include_str!("../../shaders/shared/q8_0.wgsl"), SCALED],
            Self::Q6K => &[include_str!("../../shaders/shared/q6_k.wgsl"), SCALED],
        }
    }
}

const BIASED: &str = include_str!("../../shaders/shared/biased.wgsl");
const SCALED: &str = include_str!("../../shaders/shared/scaled.wgsl");

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4 => "Q4",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        })
    }
}
