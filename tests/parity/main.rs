//! The exact path computes what transformers computes. `tests/fixtures/make.py` and `tests/parity/report.py` froze its
//! answers.

#[path = "../support/mod.rs"]
mod support;

mod brain;
mod four_bits;

use loquent::cpu::{Isa, Numerics};
use loquent::prelude::*;
use serde::Deserialize;
use support::{demo, exact_world, fixtures, generate, golden, logits, vocab_size, world};

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
            assert!(difference < 1e-4, "{} after {length} tokens: {difference}", fixture.display());
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
                assert!(difference < 1e-4, "{} with {isa}: {difference}", fixture.display());
            }
        }
    }
}

/// What `tests/parity/report.py --regenerate` wrote.
#[derive(Deserialize)]
struct Reference {
    prompts: Vec<Continued>,
}

/// A text, and what follows it.
#[derive(Deserialize)]
struct Continued {
    name: String,
    text: String,
    ids: Vec<u32>,
    tokens: Vec<u32>,
}

#[test]
fn the_demo_continues_texts_as_transformers_does() {
    let reference: Reference = serde_json::from_str(include_str!("reference.json")).expect("reference.json");
    assert!(reference.prompts.iter().any(|prompt| prompt.ids.len() >= 700));
    let tokenizer = Checkpoint::open(&demo()).expect("the demo").tokenizer.expect("a tokenizer");
    let mut world = exact_world(&demo());
    for Continued { name, text, ids, tokens } in reference.prompts {
        assert_eq!(tokenizer.encode(&text, true).expect("ids"), ids, "{name}");
        assert_eq!(generate(&mut world, &ids, tokens.len()), tokens, "{name}");
    }
}
