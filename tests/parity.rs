//! The exact path computes what transformers computes. `tests/fixtures/make.py` froze its answers.

mod support;

use loquent::cpu::Numerics;
use loquent::cpu::kernels::Isa;
use loquent::prelude::*;
use support::{exact_world, fixtures, generate, golden, logits, vocab_size, world};

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_transformers() {
    for fixture in fixtures() {
        let mut world = exact_world(&fixture);
        let vocab_size = vocab_size(&mut world);
        for (golden, expected) in golden(&fixture, "golden.f32", vocab_size) {
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
        let mut world = exact_world(&fixture);
        let vocab_size = vocab_size(&mut world);
        for (golden, _) in golden(&fixture, "golden.f32", vocab_size) {
            let found = generate(&mut world, &golden.prompt, golden.greedy.len());
            assert_eq!(found, golden.greedy, "{} after {} tokens", fixture.display(), golden.prompt.len());
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_transformers() {
    for fixture in fixtures() {
        for isa in Isa::available() {
            let mut world = world(&fixture, 1, isa, Numerics::Exact);
            let vocab_size = vocab_size(&mut world);
            for (golden, expected) in golden(&fixture, "golden.f32", vocab_size) {
                let found = logits(&mut world, &golden.prompt, Budget::Step);
                let difference = largest_difference(&found, &expected);
                assert!(difference < 1e-3, "{} with {isa}: {difference}", fixture.display());
            }
        }
    }
}
