//! Dequantisation against the formulas written down as plainly as they can be, weight by weight, and against what the
//! package `gguf` makes of the same bytes.

use half::f16;
use proptest::prelude::*;

use super::testing::AnyBlocks;
use crate::checkpoint::ElementType;

const ELEMENTS: [ElementType; AnyBlocks::KINDS] =
    [ElementType::Q4_0, ElementType::Q4_1, ElementType::Q8_0, ElementType::Q4K, ElementType::Q5K, ElementType::Q6K];

/// Weight `i` of a block, read from its bytes.
fn plain(element: ElementType, block: &[u8], i: usize) -> f32 {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let nibble = |at: usize, high: bool| if high { block[at] >> 4 } else { block[at] & 15 };
    match element {
        ElementType::Q4_0 => (f32::from(nibble(2 + i % 16, i >= 16)) - 8.0) * half(0),
        ElementType::Q4_1 => f32::from(nibble(4 + i % 16, i >= 16)) * half(0) + half(2),
        ElementType::Q8_0 => f32::from(block[2 + i] as i8) * half(0),
        ElementType::Q4K | ElementType::Q5K => {
            let (j, s) = (i / 32, &block[4..16]);
            let (scale, min) = if j < 4 {
                (s[j] & 63, s[j + 4] & 63)
            } else {
                ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
            };
            let is_five = element == ElementType::Q5K;
            let mut q = nibble(if is_five { 48 } else { 16 } + i / 64 * 32 + i % 32, j % 2 == 1);
            if is_five && block[16 + i % 32] >> j & 1 == 1 {
                q += 16;
            }
            half(0) * f32::from(scale) * f32::from(q) - half(2) * f32::from(min)
        }
        ElementType::Q6K => {
            let (n, l, quarter) = (i / 128, i % 32, i % 128 / 32);
            let low = nibble(64 * n + l + 32 * (quarter % 2), quarter >= 2);
            let high = block[128 + 32 * n + l] >> (2 * quarter) & 3;
            let scale = block[192 + 8 * n + 2 * quarter + l / 16] as i8;
            half(208) * f32::from(scale) * (f32::from(low | high << 4) - 32.0)
        }
        other => unreachable!("{other} is none of ggml's"),
    }
}

proptest! {
    #[test]
    fn every_weight_is_what_the_plain_formula_gives(kind in 0..AnyBlocks::KINDS, seed: u64) {
        let (element, blocks) = (ELEMENTS[kind], AnyBlocks::random(kind, seed, 512));
        let mut weights = vec![0.0; 512];
        element.widen(blocks.bytes(), 0, &mut weights);
        for (i, weight) in weights.iter().enumerate() {
            let block = &blocks.bytes()[i / element.block_len() * element.block_size()..];
            let expected = plain(element, block, i % element.block_len());
            prop_assert_eq!(weight.to_bits(), expected.to_bits(), "{} {}: {} {}", element, i, weight, expected);
        }
    }

    #[test]
    fn any_part_of_a_tensor_can_be_decoded(kind in 0..AnyBlocks::KINDS, first in 0usize..600, count in 0usize..600) {
        let (blocks, count) = (AnyBlocks::random(kind, 1, 768), count.min(768 - first));
        let (mut all, mut part) = (vec![0.0; 768], vec![0.0; count]);
        blocks.blocks().dequantize(0, &mut all);
        blocks.blocks().dequantize(first, &mut part);
        prop_assert_eq!(&part[..], &all[first..first + count]);
    }
}

#[test]
fn weights_are_those_of_the_package_gguf() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ggml");
    for element in ELEMENTS {
        let read =
            |extension: &str| std::fs::read(directory.join(format!("{element}.{extension}"))).expect("a fixture");
        let (bytes, expected) = (read("blocks"), read("f32"));
        let expected: Vec<f32> = expected.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        // Aligned, as a tensor's are.
        let shape = vec![expected.len() / element.block_len(), element.block_len()];
        let tensor = crate::checkpoint::Tensor::new("t", element, shape, bytes.into()).expect("whole blocks");
        let weights = tensor.to_f32();
        assert_eq!(weights.len(), expected.len());
        for (i, (weight, expected)) in weights.iter().zip(&expected).enumerate() {
            assert_eq!(weight.to_bits(), expected.to_bits(), "{element}, weight {i}: {weight} for {expected}");
        }
    }
}
