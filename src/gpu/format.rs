//! How weights are stored on a device.

use std::fmt;

use crate::checkpoint::ElementType;
use crate::quant::BLOCK_LEN;

/// How the weights of a matrix are stored on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper halves of singles.
    Bf16,
    /// Four bits, in a plane of their own beside that of scales and biases.
    Q4,
}

impl Format {
    /// That of a matrix whose tensor is stored as `element`, in rows of `cols`; `None` where shaders read no such weights.
    ///
    /// Blocks of our own lie over the flat tensor. Where they straddle rows, no row can be read by itself: such matrices,
    /// which no published model has, are widened.
    #[must_use]
    pub fn of(element: ElementType, cols: usize) -> Option<Self> {
        match element {
            ElementType::F32 => Some(Self::F32),
            ElementType::F16 => Some(Self::F16),
            ElementType::Bf16 => Some(Self::Bf16),
            ElementType::Q4 if cols.is_multiple_of(BLOCK_LEN) => Some(Self::Q4),
            ElementType::Q4 => Some(Self::F32),
            _ => None,
        }
    }

    /// Bytes of the codes of 32 weights.
    #[must_use]
    pub fn code_bytes(self) -> usize {
        match self {
            Self::F32 => 4 * BLOCK_LEN,
            Self::F16 | Self::Bf16 => 2 * BLOCK_LEN,
            Self::Q4 => BLOCK_LEN / 2,
        }
    }

    /// Bytes of what the codes of 32 weights are multiplied with; none, unless it is a plane of its own.
    #[must_use]
    pub fn factor_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 0,
            Self::Q4 => 4,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4 => "Q4",
        })
    }
}
