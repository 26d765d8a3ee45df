//! The rows of the embedding matrix that tokens select, widened to `f32`.
//!
//! 1. `out[row] = f32(matrix[tokens[row]])`, exactly, whatever the weights are stored as.

use half::prelude::HalfFloatSliceExt;

use super::{WeightSlice, Weights, split};
use crate::tally;

/// Gathers the rows `tokens` of `matrix` `[vocab, hidden]` into `out` `[tokens.len(), hidden]`.
///
/// # Panics
///
/// Where a token lies beyond the matrix, or `out` does not have a row for each token.
pub fn embed(matrix: Weights<'_>, hidden: usize, tokens: &[u32], out: &mut [f32]) {
    assert_eq!(out.len(), tokens.len() * hidden, "a row of {hidden} for each token");
    tally::add(out.len() * (matrix.size().checked_div(matrix.len()).unwrap_or(0) + size_of::<f32>()), 0);
    split::rows(out, hidden, |first, out| {
        for (out, &token) in out.chunks_exact_mut(hidden).zip(&tokens[first..]) {
            let row = token as usize * hidden..(token as usize + 1) * hidden;
            match matrix {
                Weights::Stored(WeightSlice::Blocks { blocks, first, .. }) => blocks.dequantize(first + row.start, out),
                Weights::Packed(panels) => panels.dequantize_row(token as usize, out),
                Weights::Stored(WeightSlice::F32(matrix)) => out.copy_from_slice(&matrix[row]),
                Weights::Stored(WeightSlice::F16(matrix)) => matrix[row].convert_to_f32_slice(out),
                Weights::Brain(matrix) | Weights::Stored(WeightSlice::Bf16(matrix)) => {
                    for (out, x) in out.iter_mut().zip(&matrix[row]) {
                        *out = f32::from_bits(u32::from(x.to_bits()) << 16);
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::cpu::kernels::testing::{assert_same_bits, noise, on_threads};
    use crate::quant::ggml::testing::AnyBlocks;
    use crate::quant::{Blocks, Encoding, Search, dequantize, quantize};

    #[test]
    fn gathers_rows_of_every_format() {
        let (vocab, hidden) = (50, 333);
        let matrix = noise(1, vocab * hidden);
        let half: Vec<f16> = matrix.iter().map(|&x| f16::from_f32(x)).collect();
        let brain: Vec<bf16> = matrix.iter().map(|&x| bf16::from_f32(x)).collect();
        let blocks = quantize(&matrix, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
        let mut dequantized = vec![0.0; matrix.len()];
        dequantize(&blocks, 0, &mut dequantized);
        let tokens: Vec<u32> = (0..201).map(|i| i * 37 % vocab as u32).collect();
        let widened = [
            (WeightSlice::F32(&matrix), matrix.clone()),
            (WeightSlice::F16(&half), half.iter().map(|x| x.to_f32()).collect()),
            (WeightSlice::Bf16(&brain), brain.iter().map(|x| x.to_f32()).collect()),
            (WeightSlice::Blocks { blocks: Blocks::Q4(&blocks), first: 0, len: matrix.len() }, dequantized),
        ];
        let rows = AnyBlocks::random(5, 1, matrix.len());
        let mut in_blocks = vec![0.0; matrix.len()];
        rows.blocks().dequantize(0, &mut in_blocks);
        let rows = (WeightSlice::Blocks { blocks: rows.blocks(), first: 0, len: matrix.len() }, in_blocks);
        for (weights, wide) in widened.into_iter().chain([rows]) {
            for threads in [1, 3] {
                let mut out = vec![0.0; tokens.len() * hidden];
                on_threads(threads, || embed(Weights::Stored(weights), hidden, &tokens, &mut out));
                for (out, &token) in out.chunks(hidden).zip(&tokens) {
                    assert_same_bits(out, &wide[token as usize * hidden..][..hidden]);
                }
            }
        }
    }

    #[test]
    fn no_tokens_are_no_rows() {
        embed(Weights::Stored(WeightSlice::F32(&[1.0, 2.0])), 2, &[], &mut []);
    }
}
