//! The scale and bias with the least squared error: lines of many steps are tried, and each is fitted to the codes it
//! gave, as ggml's k-quants do (`make_qkx2_quants`).

use half::f16;

use super::block::{BLOCK_LEN, Block};
use super::encode::{Encoding, clamp_to_code, round};

/// Steps that the range of the weights is cut into: 15 leave no weight outside, more let the extremes be cut off, and
/// fewer leave codes unused.
const STEPS: [f32; 16] =
    [14.0, 14.5, 15.0, 15.5, 16.0, 16.5, 17.0, 17.5, 18.0, 18.5, 19.0, 19.5, 20.0, 20.5, 21.0, 22.0];

/// Fits of a line to the codes it gave, after the first.
const REFITS: usize = 2;

/// The block with the least squared error of those tried; `plain` is one of them.
pub(super) fn improve(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding, plain: Block) -> Block {
    let mut best = (error(padded, count, &plain), plain);
    let (minimum, maximum) = padded[..count]
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &weight| (least.min(weight), most.max(weight)));
    let largest = maximum.max(-minimum);
    for steps in STEPS {
        let mut line = match encoding {
            // Half of what is cut off on either side.
            Encoding::Asymmetric => {
                let scale = (maximum - minimum) / steps;
                Line { scale, bias: f32::midpoint(minimum, maximum) - 7.5 * scale }
            }
            Encoding::Symmetric => Line::symmetric(2.0 * largest / steps),
        };
        for _ in 0..=REFITS {
            let Some(block) = line.encode(padded) else { break };
            let error = error(padded, count, &block);
            if error < best.0 {
                best = (error, block);
            }
            line = Line::fit(padded, count, encoding, &block);
        }
    }
    best.1
}

struct Line {
    scale: f32,
    bias: f32,
}

impl Line {
    fn symmetric(scale: f32) -> Self {
        Self { scale, bias: -8.0 * scale }
    }

    /// The nearest codes to what will be stored; nothing, where that does not fit half precision.
    fn encode(&self, padded: &[f32; BLOCK_LEN]) -> Option<Block> {
        let (scale, bias) = (f16::from_f32(self.scale), f16::from_f32(self.bias));
        if !(scale.is_finite() && scale > f16::ZERO && bias.is_finite()) {
            return None;
        }
        let (inverse, offset) = (1.0 / scale.to_f32(), bias.to_f32());
        let mut codes = [0; BLOCK_LEN];
        for (code, weight) in codes.iter_mut().zip(padded) {
            *code = clamp_to_code(round((weight - offset) * inverse));
        }
        Some(Block::new(scale, bias, codes))
    }

    /// The line through the real weights at the block's codes with the least squares.
    fn fit(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding, block: &Block) -> Self {
        let (mut codes, mut weights, mut squares, mut products) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
        let centre = if encoding == Encoding::Symmetric { 8.0 } else { 0.0 };
        for (index, weight) in padded[..count].iter().enumerate() {
            let code = f32::from(block.codes[index / 2] >> (4 * (index % 2)) & 15) - centre;
            codes += code;
            weights += weight;
            squares += code * code;
            products += code * weight;
        }
        match encoding {
            Encoding::Symmetric => Self::symmetric(products / squares),
            Encoding::Asymmetric => {
                let count = count as f32;
                let scale = (count * products - codes * weights) / (count * squares - codes * codes);
                Self { scale, bias: (weights - scale * codes) / count }
            }
        }
    }
}

/// The sum of the squared errors of the real weights.
fn error(padded: &[f32; BLOCK_LEN], count: usize, block: &Block) -> f32 {
    let mut errors = block.weights();
    for (error, weight) in errors.iter_mut().zip(padded) {
        *error = (*error - weight) * (*error - weight);
    }
    errors[..count].iter().sum()
}
