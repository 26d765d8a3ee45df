//! Matrices as shaders read them.

use half::{bf16, f16};
use loquent::checkpoint::{ElementType, Tensor};
use loquent::gpu::Format;
use loquent::gpu::planes::Planes;
use loquent::quant::{Block, Encoding, Search, dequantize, quantize};

use crate::harness::{Dispatch, noise};

pub const FORMATS: [Format; 8] = Format::ALL;

/// A matrix, with rows before and after it that are no numbers.
pub struct Matrix {
    pub cols: usize,
    pub skipped: usize,
    /// Its exact weights, `[rows, cols]`.
    pub wide: Vec<f32>,
    codes: Vec<u32>,
    factors: Option<Vec<u32>>,
}

impl Matrix {
    /// Columns are whole blocks where there are four bits: others are widened at upload.
    pub fn new(format: Format, skipped: usize, rows: usize, cols: usize, seed: u64) -> Self {
        if let Some(ggml) = Ggml::of(format) {
            return ggml.matrix(skipped, rows, cols.next_multiple_of(format.block_len()), seed);
        }
        let cols = if format == Format::Q4 { cols.next_multiple_of(32) } else { cols };
        let blocks = cols.div_ceil(32);
        let mut wide = noise(seed, rows * cols);
        let block_words = match format {
            Format::F32 => 32,
            Format::F16 | Format::Bf16 => 16,
            _ => 4,
        };
        let mut codes = vec![u32::MAX; skipped * blocks * block_words];
        let mut factors = None;
        if format == Format::Q4 {
            let quantized = quantize(&wide, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
            dequantize(&quantized, 0, &mut wide);
            codes.extend(
                quantized.iter().flat_map(|block| block.codes.as_chunks::<4>().0).map(|&four| u32::from_le_bytes(four)),
            );
            let mut words = vec![u32::MAX; skipped * blocks];
            words.extend(quantized.iter().map(|block| u32::from(block.scale) | u32::from(block.bias) << 16));
            words.extend(vec![u32::MAX; blocks]);
            factors = Some(words);
        } else {
            for row in wide.chunks_exact_mut(cols) {
                let start = codes.len();
                codes.resize(start + blocks * block_words, 0);
                for (index, value) in row.iter_mut().enumerate() {
                    let half = match format {
                        Format::F16 => {
                            let half = f16::from_f32(*value);
                            *value = half.to_f32();
                            half.to_bits()
                        }
                        Format::Bf16 => {
                            let half = bf16::from_f32(*value);
                            *value = half.to_f32();
                            half.to_bits()
                        }
                        _ => {
                            codes[start + index] = value.to_bits();
                            continue;
                        }
                    };
                    codes[start + index / 2] |= u32::from(half) << (16 * (index % 2));
                }
            }
        }
        codes.extend(vec![u32::MAX; blocks * block_words]);
        Self { cols, skipped, wide, codes, factors }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.wide[row * self.cols..(row + 1) * self.cols]
    }

    /// Binds its planes.
    pub fn bind(&self, dispatch: Dispatch) -> Dispatch {
        let dispatch = dispatch.words("codes", self.codes.clone());
        match &self.factors {
            Some(factors) => dispatch.words("factors", factors.clone()),
            None => dispatch,
        }
    }
}

/// A type of ggml's that is a format of its own.
struct Ggml {
    element: ElementType,
    /// Where the halves of a block lie, and how large they are so that weights are up to about 1.
    halves: &'static [(usize, f32)],
}

impl Ggml {
    fn of(format: Format) -> Option<Self> {
        let (element, halves): (_, &[_]) = match format {
            Format::Q8_0 => (ElementType::Q8_0, &[(0, 8e-3)]),
            Format::Q4K => (ElementType::Q4K, &[(0, 1e-3), (2, 8e-3)]),
            Format::Q5K => (ElementType::Q5K, &[(0, 5e-4), (2, 8e-3)]),
            Format::Q6K => (ElementType::Q6K, &[(208, 2.4e-4)]),
            _ => return None,
        };
        Some(Self { element, halves })
    }

    /// Of any codes, as it is uploaded.
    fn matrix(&self, skipped: usize, rows: usize, cols: usize, seed: u64) -> Matrix {
        let Self { element, halves } = *self;
        let size = element.bytes_for(rows * cols).expect("a size");
        let mut bytes: Vec<u8> = noise(seed, size).iter().map(|x| (x.to_bits() >> 3) as u8).collect();
        for (block, scale) in bytes.chunks_exact_mut(element.block_size()).zip(noise(!seed, size)) {
            for &(at, largest) in halves {
                block[at..at + 2].copy_from_slice(&f16::from_f32(scale * largest).to_le_bytes());
            }
        }
        let tensor = Tensor::new("t", element, vec![rows, cols], bytes.into()).expect("whole blocks");
        let Planes { codes, factors } = Planes::of(&tensor, 0..rows);
        let among_others = |plane: Vec<u8>| {
            let mut words = vec![u32::MAX; plane.len() / 4 / rows * skipped];
            words.extend(plane.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
            words.extend(vec![u32::MAX; plane.len() / 4 / rows]);
            words
        };
        let (codes, factors) = (among_others(codes), Some(among_others(factors)));
        Matrix { cols, skipped, wide: tensor.to_f32(), codes, factors }
    }
}

#[test]
fn blocks_of_four_bits_are_uploaded_as_what_they_stand_for() {
    for (element, size) in [(ElementType::Q4_0, 18), (ElementType::Q4_1, 20)] {
        let mut bytes: Vec<u8> = (0..6 * size).map(|i| (i * 37 % 251) as u8).collect();
        for (index, block) in bytes.chunks_exact_mut(size).enumerate() {
            let d = f16::from_f32(0.01 * (index as f32 - 2.5));
            block[..2].copy_from_slice(&d.to_le_bytes());
            if size == 20 {
                block[2..4].copy_from_slice(&f16::from_f32(0.3).to_le_bytes());
            }
        }
        let tensor = Tensor::new("t", element, vec![2, 96], bytes.into()).expect("whole blocks");
        let Planes { codes, factors } = Planes::of(&tensor, 1..2);
        let blocks = codes.as_chunks().0.iter().zip(factors.as_chunks().0).map(|(&codes, &[a, b, c, d])| Block {
            scale: u16::from_le_bytes([a, b]),
            bias: u16::from_le_bytes([c, d]),
            codes,
        });
        let weights: Vec<f32> = blocks.flat_map(|block| block.weights()).collect();
        assert_eq!(weights, tensor.to_f32()[96..]);
    }
}
