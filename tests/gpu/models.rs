//! Whole models on a device, against transformers and against the exact path of the CPU.

use std::path::Path;

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::gpu::GpuContext;
use loquent::prelude::*;
use loquent::world::activations::Logits;
use loquent::world::sequence::HostLogits;

use crate::device::context;
use crate::support::{
    self, demo_in_four_bits, exact_world, fixtures, golden, make_strict, run, some_prompt, spawn, take, vocab_size,
};

pub fn gpu_world(checkpoint: &Path, context: &GpuContext) -> World {
    let mut world = World::new();
    let options = LoadOptions::default().threads(1).device(context.clone());
    load(&mut world, checkpoint, options).expect("a model that fits the device");
    make_strict(&mut world);
    world
}

/// The logits after `prompt`, as the host is given them.
pub fn logits(world: &mut World, prompt: &[u32]) -> Vec<f32> {
    let sequence = spawn(world, prompt, 0);
    world.entity_mut(sequence).insert(HostLogits);
    run(world, Budget::Step);
    let logits = world.resource::<Logits<Cpu>>().0.row(0).to_vec();
    take(world, sequence);
    logits
}

pub fn generate(world: &mut World, prompt: &[u32], new: usize) -> Vec<u32> {
    let sequence = spawn(world, prompt, new);
    run(world, Budget::Step);
    take(world, sequence)
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
pub fn logits_and_greedy_tokens_are_those_of_transformers() {
    let Some(context) = context() else { return };
    for fixture in fixtures() {
        let mut world = gpu_world(&fixture, &context);
        let vocab_size = vocab_size(&mut world);
        for (golden, expected) in golden(&fixture, "golden.f32", vocab_size) {
            let found = logits(&mut world, &golden.prompt);
            let difference = largest_difference(&found, &expected);
            let length = golden.prompt.len();
            assert!(difference < 1e-3, "{} after {length} tokens: {difference}", fixture.display());
            let found = generate(&mut world, &golden.prompt, golden.greedy.len());
            assert_eq!(found, golden.greedy, "{} after {length} tokens", fixture.display());
        }
    }
}

#[test]
fn four_bits_compute_what_the_exact_path_of_the_cpu_does() {
    let Some(context) = context() else { return };
    let (_folder, checkpoint) = demo_in_four_bits();
    let (mut on_gpu, mut on_cpu) = (gpu_world(&checkpoint, &context), exact_world(&checkpoint));
    let vocab_size = vocab_size(&mut on_gpu);
    for length in [1, 5, 17, 70, 300] {
        let prompt = some_prompt(length, vocab_size);
        let difference =
            largest_difference(&logits(&mut on_gpu, &prompt), &support::logits(&mut on_cpu, &prompt, Budget::Step));
        assert!(difference < 1e-3, "after {length} tokens: {difference}");
        assert_eq!(generate(&mut on_gpu, &prompt, 48), support::generate(&mut on_cpu, &prompt, 48));
    }
}

/// Delta nets and attention in blocks of each type of 32 weights, with the orders of a converter to put back.
#[test]
fn a_gguf_file_computes_what_the_exact_path_of_the_cpu_does() {
    let Some(context) = context() else { return };
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/three-heads/model.gguf");
    let (mut on_gpu, mut on_cpu) = (gpu_world(&checkpoint, &context), exact_world(&checkpoint));
    let vocab_size = vocab_size(&mut on_gpu);
    for length in [1, 5, 17, 40] {
        let prompt = some_prompt(length, vocab_size);
        let expected = support::logits(&mut on_cpu, &prompt, Budget::Step);
        let difference = largest_difference(&logits(&mut on_gpu, &prompt), &expected);
        assert!(difference < 1e-3, "after {length} tokens: {difference}");
        assert_eq!(generate(&mut on_gpu, &prompt, 16), support::generate(&mut on_cpu, &prompt, 16));
    }
}
