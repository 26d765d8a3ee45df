//! Matrices as shaders read them.

use half::{bf16, f16};
use loquent::gpu::Format;
use loquent::quant::{Encoding, Search, dequantize, quantize};

use crate::harness::{Dispatch, noise};

pub const FORMATS: [Format; 4] = [Format::F32, Format::F16, Format::Bf16, Format::Q4];

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
        let cols = if format == Format::Q4 { cols.next_multiple_of(32) } else { cols };
        let blocks = cols.div_ceil(32);
        let mut wide = noise(seed, rows * cols);
        let block_words = match format {
            Format::F32 => 32,
            Format::F16 | Format::Bf16 => 16,
            Format::Q4 => 4,
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
