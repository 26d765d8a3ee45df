//! Looks at every value of a tensor, as fast as memory gives them: what is not finite now is nowhere to be found later.

#![forbid(unsafe_code)]

use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;

use super::error::CheckpointError;
use super::tensor::{ElementType, Tensor};
use crate::quant::{BLOCK_LEN, Block, Blocks, QuantBlock, with_blocks};

impl Tensor {
    /// Refuses a value that is infinite or not a number, and a block that stands for no such values.
    pub(super) fn check_values(&self, file: &Path) -> Result<(), CheckpointError> {
        Values { element: self.element(), shape: self.shape(), start: 0, bytes: self.bytes() }
            .check()
            .map_err(|(expected, found)| CheckpointError::tensor(file, self.name(), expected, found))
    }
}

/// Elements of a tensor, one after the other.
pub(super) struct Values<'a> {
    pub(super) element: ElementType,
    /// Of the whole tensor.
    pub(super) shape: &'a [usize],
    /// The flat index of the first of these elements; of blocks, the first one's.
    pub(super) start: usize,
    /// Aligned for the element type.
    pub(super) bytes: &'a [u8],
}

impl Values<'_> {
    /// What was expected and what was found, if a value or a block is not as it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        Err(match self.element.blocks(self.bytes) {
            Some(Blocks::Q4(blocks)) => {
                let Some(index) = first(blocks, has_unsound, |block| !block.is_sound()) else { return Ok(()) };
                unsound(self.start / BLOCK_LEN + index, &blocks[index])
            }
            Some(blocks) => return with_blocks!(blocks, blocks => self.check_scales(blocks)),
            None => return self.check_numbers(),
        })
    }

    fn check_numbers(&self) -> Result<(), (&'static str, String)> {
        let (bad, value) = match self.element {
            ElementType::F16 => {
                let bits: &[u16] = bytemuck::cast_slice(self.bytes);
                let has_bad = |chunk: &[u16]| has_all_ones_u16(chunk, 0x7c00);
                let bad = first(bits, has_bad, |bits| !f16::from_bits(bits).is_finite());
                (bad, bad.map(|index| f16::from_bits(bits[index]).to_f32()))
            }
            ElementType::Bf16 => {
                let bits: &[u16] = bytemuck::cast_slice(self.bytes);
                let has_bad = |chunk: &[u16]| has_all_ones_u16(chunk, 0x7f80);
                let bad = first(bits, has_bad, |bits| !bf16::from_bits(bits).is_finite());
                (bad, bad.map(|index| bf16::from_bits(bits[index]).to_f32()))
            }
            _ => {
                let bits: &[u32] = bytemuck::cast_slice(self.bytes);
                let bad = first(bits, has_all_ones_u32, |bits| !f32::from_bits(bits).is_finite());
                (bad, bad.map(|index| f32::from_bits(bits[index])))
            }
        };
        match bad.zip(value) {
            Some((index, value)) => Err(self.not_finite(index, value)),
            None => Ok(()),
        }
    }

    /// In ggml's types, only what codes are multiplied with can be wrong.
    fn check_scales<B: QuantBlock>(&self, blocks: &[B]) -> Result<(), (&'static str, String)> {
        let Some(index) = first(blocks, has_unsound, |block| !block.is_sound()) else { return Ok(()) };
        let block = self.start / B::LEN + index;
        Err(("finite scales", format!("others in block {block} (elements from {} on)", block * B::LEN)))
    }

    fn not_finite(&self, index: usize, value: f32) -> (&'static str, String) {
        let index = self.start + index;
        let at = position(index, self.shape);
        ("finite values", format!("{value} at element {index} (position {at:?})"))
    }
}

fn unsound(index: usize, block: &Block) -> (&'static str, String) {
    let at = format!("in block {index} (elements from {} on)", index * BLOCK_LEN);
    if block.bias().is_finite() {
        ("scales that are finite and above 0", format!("{} {at}", block.scale()))
    } else {
        ("finite biases", format!("{} {at}", block.bias()))
    }
}

/// The position in each dimension of the element with this flat index.
fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dimension| {
            let coordinate = index % dimension;
            index /= dimension;
            coordinate
        })
        .collect();
    position.reverse();
    position
}

/// The index of the first element that `is_bad`, looked for only in the first chunk that `has_bad`.
fn first<T: Copy + Sync>(
    elements: &[T],
    has_bad: impl Fn(&[T]) -> bool + Sync + Send,
    is_bad: impl Fn(T) -> bool,
) -> Option<usize> {
    /// Large enough that handing out chunks costs nothing, small enough that one stays in a core's second cache.
    const CHUNK_BYTES: usize = 1 << 17;
    let length = CHUNK_BYTES / size_of::<T>();
    let start = elements.par_chunks(length).position_first(has_bad)? * length;
    elements[start..].iter().position(|&element| is_bad(element)).map(|offset| start + offset)
}

/// Whether an exponent is all ones: an infinity or not a number. An integer test over the whole slice, with no way out of
/// the loop, is what compilers turn into vector instructions.
fn has_all_ones_u16(elements: &[u16], exponent: u16) -> bool {
    elements.iter().fold(0u16, |found, &bits| found | u16::from(bits & exponent == exponent)) != 0
}

fn has_all_ones_u32(elements: &[u32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    elements.iter().fold(0u32, |found, &bits| found | u32::from(bits & EXPONENT == EXPONENT)) != 0
}

fn has_unsound<B: QuantBlock>(blocks: &[B]) -> bool {
    blocks.iter().fold(false, |found, block| found | !block.is_sound())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(element: ElementType, shape: &[usize], bytes: &[u8]) -> Option<String> {
        let tensor = Tensor::new("t", element, shape.to_vec(), Bytes::copy_from_slice(bytes)).unwrap();
        tensor.check_values(Path::new("file")).err().map(|error| error.to_string())
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found_wherever_it_is() {
        for index in [0, 1, 65_535, 65_536, 200_000] {
            let mut bits = vec![0x3f80u16; 200_002];
            bits[index] = 0xff80;
            bits[200_001] = 0x7fc0;
            let found = message(ElementType::Bf16, &[2, 100_001], bytemuck::cast_slice(&bits)).unwrap();
            let position = [index / 100_001, index % 100_001];
            assert!(found.ends_with(&format!("found -inf at element {index} (position {position:?})")), "{found}");
        }
        let largest: Vec<u8> =
            [f16::MAX, f16::MIN, f16::MIN_POSITIVE_SUBNORMAL].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(message(ElementType::F16, &[3], &largest), None);
        let nan = [f32::MAX, f32::NAN, f32::INFINITY].map(f32::to_le_bytes).concat();
        assert!(message(ElementType::F32, &[3], &nan).unwrap().contains("NaN at element 1 "));
    }

    #[test]
    fn the_first_unsound_block_is_found_wherever_it_is() {
        let sound = Block { scale: 1, bias: 0xfbff, codes: [0xff; 16] };
        for index in [0, 1, 6552, 6553, 6554, 19_999] {
            for (scale, bias, expected) in [
                (0, 0, "finite and above 0, found 0 in"),
                (0x8000, 0, "finite and above 0, found -0 in"),
                (0xbc00, 0, "finite and above 0, found -1 in"),
                (0x7c00, 0, "finite and above 0, found inf in"),
                (0xfe00, 0, "finite and above 0, found NaN in"),
                (0x3c00, 0xfc00, "finite biases, found -inf in"),
                (0x3c00, 0x7c01, "finite biases, found NaN in"),
            ] {
                let mut blocks = vec![sound; 20_001];
                blocks[20_000].scale = 0;
                (blocks[index].scale, blocks[index].bias) = (scale, bias);
                let found = message(ElementType::Q4, &[20_001, 32], bytemuck::cast_slice(&blocks)).unwrap();
                let at = format!(" block {index} (elements from {} on)", 32 * index);
                assert!(found.contains(expected) && found.ends_with(&at), "{found}");
            }
        }
        assert_eq!(message(ElementType::Q4, &[64], bytemuck::cast_slice(&[sound; 2])), None);
    }

    #[test]
    fn scales_that_are_not_finite_are_found_in_every_type() {
        // Where halves lie in a block.
        for (element, scales) in [
            (ElementType::Q8_0, &[0][..]),
            (ElementType::Q4_0, &[0]),
            (ElementType::Q4_1, &[0, 2]),
            (ElementType::Q4K, &[0, 2]),
            (ElementType::Q5K, &[0, 2]),
            (ElementType::Q6K, &[208]),
        ] {
            let (len, size) = (element.block_len(), element.block_size());
            // Codes and small scales may be anything.
            let mut sound = vec![0xff; 1000 * size];
            for block in sound.chunks_exact_mut(size) {
                scales.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&f16::MIN.to_le_bytes()));
            }
            assert_eq!(message(element, &[1000 * len], &sound), None, "{element}");
            for (index, &at) in [0, 999].into_iter().zip(scales.iter().cycle()) {
                for broken in [f16::INFINITY, f16::NEG_INFINITY, f16::NAN] {
                    let mut bytes = sound.clone();
                    bytes[index * size + at..][..2].copy_from_slice(&broken.to_le_bytes());
                    let found = message(element, &[1000, len], &bytes).unwrap();
                    let at = format!(" block {index} (elements from {} on)", len * index);
                    assert!(found.contains("finite scales") && found.ends_with(&at), "{element}: {found}");
                }
            }
        }
    }
}
