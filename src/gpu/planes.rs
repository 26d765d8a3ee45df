//! Rows of a matrix as shaders read them: their codes, and what these are multiplied with.
//!
//! A shader reads weights in blocks of 32. Of four bits it wants them in the order in which our own blocks have them, weight
//! `2b` in the low half of byte `b` and the next in the high half; bits beyond four lie behind those of 256 weights. What the
//! 256 are multiplied with is five words: `d` and `dmin` as halves, then small scales as bytes.

use std::ops::Range;

use half::{bf16, f16};

use super::format::Format;
use crate::checkpoint::Tensor;
use crate::quant::ggml::{BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0, QK_K, scales_and_mins};
use crate::quant::{BLOCK_LEN, Block, Blocks, with_blocks};

/// The codes of some rows of a matrix, and what they are multiplied with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// Codes.
    pub codes: Vec<u8>,
    /// Scales and biases.
    pub factors: Vec<u8>,
}

impl Planes {
    /// Those of `rows` of a matrix, in the [format](Format::of) of its tensor.
    ///
    /// # Panics
    /// If it is no matrix, or has no such rows.
    #[must_use]
    pub fn of(tensor: &Tensor, rows: Range<usize>) -> Self {
        let &[_, cols] = tensor.shape() else { panic!("{} is no matrix: {:?}", tensor.name(), tensor.shape()) };
        let format = Format::of(tensor.element(), cols);
        let mut planes = Self {
            codes: Vec::with_capacity(rows.len() * format.code_bytes(cols)),
            factors: Vec::with_capacity(rows.len() * format.factor_bytes(cols)),
        };
        match tensor.any_blocks() {
            Some(blocks) if format.has_factors() => {
                let in_row = cols / blocks.block_len();
                let of_rows = rows.start * in_row..rows.end * in_row;
                with_blocks!(blocks, blocks => blocks[of_rows].iter().for_each(|block| block.put(&mut planes)));
            }
            _ => planes.put_numbers(tensor, format, cols, rows),
        }
        planes
    }

    fn put_numbers(&mut self, tensor: &Tensor, format: Format, cols: usize, rows: Range<usize>) {
        let row_bytes = format.code_bytes(cols);
        if cols.is_multiple_of(BLOCK_LEN) && tensor.any_blocks().is_none() {
            return self.codes.extend(&tensor.bytes()[rows.start * row_bytes..rows.end * row_bytes]);
        }
        let mut values = vec![0.0; cols.next_multiple_of(BLOCK_LEN)];
        for row in rows {
            tensor.element().widen(tensor.bytes(), row * cols, &mut values[..cols]);
            for &value in &values {
                match format {
                    Format::F16 => self.codes.extend(f16::from_f32(value).to_le_bytes()),
                    Format::Bf16 => self.codes.extend(bf16::from_f32(value).to_le_bytes()),
                    _ => self.codes.extend(value.to_le_bytes()),
                }
            }
        }
    }

    /// The low four bits of codes, in the order of our own blocks.
    fn put_nibbles(&mut self, codes: &[u8]) {
        self.codes.extend(codes.as_chunks::<2>().0.iter().map(|&[low, high]| low & 15 | high << 4));
    }

    /// Bits from the fifth on of 32 codes, `count` of each, the first one's lowest.
    fn put_high_bits(&mut self, codes: &[u8], count: usize) {
        let bits = codes.iter().enumerate().map(|(index, &code)| u64::from(code >> 4) << (count * index));
        let bits = bits.fold(0, |all, bits| all | bits);
        self.codes.extend(&bits.to_le_bytes()[..4 * count]);
    }

    fn put_halves(&mut self, halves: [f16; 2]) {
        self.factors.extend(halves.into_iter().flat_map(f16::to_le_bytes));
    }

    fn put_scales_and_mins(&mut self, d: f16, dmin: f16, scales: &[u8; 12]) {
        self.put_halves([d, dmin]);
        self.factors.extend(scales_and_mins(scales).into_iter().flat_map(|(scale, min)| [scale, min]));
    }
}

/// A block that shaders can read.
trait Put {
    /// Adds it to planes.
    fn put(&self, planes: &mut Planes);
}

impl Put for Block {
    fn put(&self, planes: &mut Planes) {
        planes.codes.extend(self.codes);
        planes.put_halves([self.scale(), self.bias()]);
    }
}

/// The codes of ggml's blocks of 32, of which those in low halves come first.
fn in_order(qs: &[u8; BLOCK_LEN / 2]) -> [u8; BLOCK_LEN] {
    std::array::from_fn(|index| qs[index % 16] >> (index / 16 * 4) & 15)
}

impl Put for BlockQ4_0 {
    fn put(&self, planes: &mut Planes) {
        planes.put_nibbles(&in_order(&self.qs));
        planes.put_halves([self.d, f16::from_f32(-8.0 * self.d.to_f32())]);
    }
}

impl Put for BlockQ4_1 {
    fn put(&self, planes: &mut Planes) {
        planes.put_nibbles(&in_order(&self.qs));
        planes.put_halves([self.d, self.m]);
    }
}

impl Put for BlockQ8_0 {
    fn put(&self, planes: &mut Planes) {
        planes.codes.extend(self.qs.map(|q| q as u8));
        planes.put_halves([self.d, f16::ZERO]);
    }
}

/// The codes of 32 weights of four bits, in ggml's types of 256.
fn low_bits(qs: &[u8; QK_K / 2], block: usize) -> [u8; BLOCK_LEN] {
    std::array::from_fn(|l| qs[block / 2 * BLOCK_LEN + l] >> (block % 2 * 4) & 15)
}

impl Put for BlockQ4K {
    fn put(&self, planes: &mut Planes) {
        for block in 0..QK_K / BLOCK_LEN {
            planes.put_nibbles(&low_bits(&self.qs, block));
        }
        planes.put_scales_and_mins(self.d, self.dmin, &self.scales);
    }
}

impl Put for BlockQ5K {
    fn put(&self, planes: &mut Planes) {
        for block in 0..QK_K / BLOCK_LEN {
            planes.put_nibbles(&low_bits(&self.qs, block));
        }
        for block in 0..QK_K / BLOCK_LEN {
            planes.put_high_bits(&self.qh.map(|high| (high >> block & 1) << 4), 1);
        }
        planes.put_scales_and_mins(self.d, self.dmin, &self.scales);
    }
}

impl Put for BlockQ6K {
    fn put(&self, planes: &mut Planes) {
        let codes = self.codes();
        planes.put_nibbles(&codes);
        for codes in codes.as_chunks::<BLOCK_LEN>().0 {
            planes.put_high_bits(codes, 2);
        }
        planes.put_halves([self.d, f16::ZERO]);
        planes.factors.extend(self.scales.map(|scale| scale as u8));
    }
}

/// Whether the bias of a block of [`Format::Q4`] would be more than a half can hold, as only Q4_0 can have it, and no model
/// has.
pub(super) fn has_too_large_a_bias(tensor: &Tensor) -> bool {
    let Some(Blocks::Q4_0(blocks)) = tensor.any_blocks() else { return false };
    blocks.iter().any(|block| !f16::from_f32(-8.0 * block.d.to_f32()).is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ElementType;

    #[test]
    fn a_bias_that_no_half_can_hold_is_noticed() {
        for (d, expected) in [(8188.0, false), (-8188.0, false), (8192.0, true), (-60_000.0, true)] {
            let blocks = [BlockQ4_0 { d: f16::ONE, qs: [0; 16] }, BlockQ4_0 { d: f16::from_f32(d), qs: [0; 16] }];
            let bytes = bytemuck::cast_slice(&blocks).to_vec();
            let tensor = Tensor::new("t", ElementType::Q4_0, vec![1, 64], bytes.into()).unwrap();
            assert_eq!(has_too_large_a_bias(&tensor), expected, "{d}");
        }
    }
}
