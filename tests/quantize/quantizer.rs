//! The encoder writes what another one writes, to the byte: `tests/fixtures/make.py` has one in numpy.

use std::path::{Path, PathBuf};

use loquent::quant::{Block, Encoding, Search, quantize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    what: String,
    count: usize,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks").join(name)
}

#[test]
fn blocks_are_those_of_another_encoder_to_the_byte() {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(file("cases.json")).unwrap()).unwrap();
    let weights = std::fs::read(file("weights.f32")).unwrap();
    let weights: Vec<f32> = weights.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    for (encoding, name) in [(Encoding::Asymmetric, "asymmetric.q4"), (Encoding::Symmetric, "symmetric.q4")] {
        let expected = std::fs::read(file(name)).unwrap();
        let (mut weights, mut expected) = (&weights[..], expected.as_chunks::<{ size_of::<Block>() }>().0);
        for Case { what, count } in &cases {
            let (case, other_weights) = weights.split_at(*count);
            let (blocks, other_blocks) = expected.split_at(count.div_ceil(32));
            let found = quantize(case, encoding, Search::MinMax).unwrap();
            for (index, (found, expected)) in found.iter().zip(blocks).enumerate() {
                assert_eq!(bytemuck::bytes_of(found), expected, "{encoding:?}, {what}, block {index}");
            }
            assert_eq!(found.len(), blocks.len());
            (weights, expected) = (other_weights, other_blocks);
        }
        assert!(weights.is_empty() && expected.is_empty());
    }
}
