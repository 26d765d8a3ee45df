//! Weights in blocks of any type.

use bytemuck::Pod;

use super::block::Block;
use super::ggml::{BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0, QK_K};

/// Weights that share what their codes are multiplied with, as they lie in a file.
pub trait QuantBlock: Pod + Send + Sync {
    /// Weights in a block, at most 256.
    const LEN: usize;

    /// Writes all weights in single precision, of which `out` holds [`LEN`](Self::LEN).
    fn dequantize(&self, out: &mut [f32]);

    /// Whether all weights are finite, and whatever else must be so.
    fn is_sound(&self) -> bool;
}

/// Blocks of one of the types that we read.
#[derive(Clone, Copy, Debug)]
pub enum Blocks<'a> {
    /// Our own, of four bits.
    Q4(&'a [Block]),
    /// Four bits about zero.
    Q4_0(&'a [BlockQ4_0]),
    /// Four bits from a minimum on.
    Q4_1(&'a [BlockQ4_1]),
    /// Eight bits about zero.
    Q8_0(&'a [BlockQ8_0]),
    /// Four bits, and scales of six.
    Q4K(&'a [BlockQ4K]),
    /// Five bits, and scales of six.
    Q5K(&'a [BlockQ5K]),
    /// Six bits, and scales of eight.
    Q6K(&'a [BlockQ6K]),
}

/// Does the same with blocks of each type.
macro_rules! with_blocks {
    ($blocks:expr, $slice:ident => $body:expr) => {
        match $blocks {
            $crate::quant::Blocks::Q4($slice) => $body,
            $crate::quant::Blocks::Q4_0($slice) => $body,
            $crate::quant::Blocks::Q4_1($slice) => $body,
            $crate::quant::Blocks::Q8_0($slice) => $body,
            $crate::quant::Blocks::Q4K($slice) => $body,
            $crate::quant::Blocks::Q5K($slice) => $body,
            $crate::quant::Blocks::Q6K($slice) => $body,
        }
    };
}

pub(crate) use with_blocks;

impl Blocks<'_> {
    /// Weights in a block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        with_blocks!(*self, blocks => len_of(blocks))
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        with_blocks!(*self, blocks => size_of_first(blocks))
    }

    /// How many weights all blocks have.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no tensor of a model is empty")]
    pub fn len(&self) -> usize {
        with_blocks!(*self, blocks => blocks.len()) * self.block_len()
    }

    /// Writes the weights from flat index `first` on in single precision, as many as `out` holds.
    ///
    /// # Panics
    /// If the blocks end before that.
    // Inlined, so that kernels compile it for their instruction sets.
    #[inline(always)]
    pub fn dequantize(&self, first: usize, out: &mut [f32]) {
        with_blocks!(*self, blocks => dequantize(blocks, first, out));
    }
}

fn len_of<B: QuantBlock>(_: &[B]) -> usize {
    B::LEN
}

fn size_of_first<B>(_: &[B]) -> usize {
    size_of::<B>()
}

/// Writes the weights from flat index `first` on in single precision, as many as `out` holds.
///
/// # Panics
/// If the blocks end before that.
// Inlined, so that kernels compile it for their instruction sets.
#[inline(always)]
pub fn dequantize<B: QuantBlock>(blocks: &[B], first: usize, out: &mut [f32]) {
    let (mut index, mut rest) = (first / B::LEN, out);
    let mut skip = first % B::LEN;
    while !rest.is_empty() {
        let count = rest.len().min(B::LEN - skip);
        let (part, after) = rest.split_at_mut(count);
        if count == B::LEN {
            blocks[index].dequantize(part);
        } else {
            let mut weights = [0.0; QK_K];
            blocks[index].dequantize(&mut weights[..B::LEN]);
            part.copy_from_slice(&weights[skip..skip + count]);
        }
        (index, skip, rest) = (index + 1, 0, after);
    }
}
