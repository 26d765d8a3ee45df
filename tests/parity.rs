//! The exact path computes what transformers computes. `tests/fixtures/make.py` froze its answers.

mod support;

use std::path::Path;

use loquent::cpu::kernels::Isa;
use loquent::prelude::*;
use serde::Deserialize;
use support::{default_world, fixtures, generate, logits, vocab_size, world};

#[derive(Deserialize)]
struct Golden {
    prompt: Vec<u32>,
    greedy: Vec<u32>,
}

/// The prompts of a fixture with the tokens and the logits that transformers gives them.
fn golden(fixture: &Path, vocab_size: usize) -> Vec<(Golden, Vec<f32>)> {
    let text = std::fs::read_to_string(fixture.join("golden.json")).expect("golden.json");
    let golden: Vec<Golden> = serde_json::from_str(&text).expect("golden.json");
    let bytes = std::fs::read(fixture.join("golden.f32")).expect("golden.f32");
    let logits: Vec<f32> = bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
    assert_eq!(logits.len(), golden.len() * vocab_size, "{}", fixture.display());
    golden.into_iter().zip(logits.chunks_exact(vocab_size).map(<[f32]>::to_vec)).collect()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_transformers() {
    for fixture in fixtures() {
        let mut world = default_world(&fixture);
        let vocab_size = vocab_size(&mut world);
        for (golden, expected) in golden(&fixture, vocab_size) {
            let found = logits(&mut world, &golden.prompt, Budget::Step);
            let difference = largest_difference(&found, &expected);
            let length = golden.prompt.len();
            assert!(difference < 1e-3, "{} after {length} tokens: {difference}", fixture.display());
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for fixture in fixtures() {
        let mut world = default_world(&fixture);
        let vocab_size = vocab_size(&mut world);
        for (golden, _) in golden(&fixture, vocab_size) {
            let found = generate(&mut world, &golden.prompt, golden.greedy.len());
            assert_eq!(found, golden.greedy, "{} after {} tokens", fixture.display(), golden.prompt.len());
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_transformers() {
    for fixture in fixtures() {
        for isa in Isa::available() {
            let mut world = world(&fixture, 1, isa);
            let vocab_size = vocab_size(&mut world);
            for (golden, expected) in golden(&fixture, vocab_size) {
                let found = logits(&mut world, &golden.prompt, Budget::Step);
                let difference = largest_difference(&found, &expected);
                assert!(difference < 1e-3, "{} with {isa}: {difference}", fixture.display());
            }
        }
    }
}
