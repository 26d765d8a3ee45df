//! Worlds of the small checkpoints in `tests/fixtures`, for the tests beside this folder.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel};
use loquent::Backend;
use loquent::convert::{Conversion, ConvertOptions};
use loquent::cpu::{CacheType, Cpu, Isa, Numerics};
use loquent::prelude::*;
use loquent::schedule::{BeginStep, EndStep, LayerPass};
use loquent::world::activations::Logits;
use serde::Deserialize;
use tempfile::TempDir;

/// The checkpoints that `tests/fixtures/make.py` wrote.
pub fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("tests/fixtures")
        .map(|entry| entry.expect("tests/fixtures").path())
        .filter(|path| path.join("golden.json").exists())
        .collect();
    // First those with layers of both kinds, of which tests take one that need one model.
    let config = |path: &PathBuf| std::fs::read_to_string(path.join("config.json")).expect("config.json");
    found.sort_by_cached_key(|path| (!config(path).contains("linear_key_head_dim"), path.clone()));
    assert!(found.len() >= 10, "expected the fixtures of tests/fixtures/make.py, found {found:?}");
    found
}

/// What transformers makes of a prompt.
#[derive(Deserialize)]
pub struct Golden {
    pub prompt: Vec<u32>,
    pub greedy: Vec<u32>,
}

/// The prompts of a fixture, and the logits after each from `file`.
pub fn golden(fixture: &Path, file: &str, vocab_size: usize) -> Vec<(Golden, Vec<f32>)> {
    let text = std::fs::read_to_string(fixture.join("golden.json")).expect("golden.json");
    let golden: Vec<Golden> = serde_json::from_str(&text).expect("golden.json");
    let bytes = std::fs::read(fixture.join(file)).expect(file);
    let logits: Vec<f32> = bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
    assert_eq!(logits.len(), golden.len() * vocab_size, "{}", fixture.display());
    golden.into_iter().zip(logits.chunks_exact(vocab_size).map(<[f32]>::to_vec)).collect()
}

/// The demo model as it was trained.
pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
}

/// The demo model in four bits, in a directory of its own.
pub fn demo_in_four_bits() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let converted = folder.path().join("q4");
    let conversion = Conversion::plan(&demo(), &converted, ConvertOptions::default()).expect("a plan");
    conversion.run(|_| std::ops::ControlFlow::Continue(())).expect("a conversion");
    (folder, converted)
}

/// A world with the model of `checkpoint` on the CPU. Two systems whose order matters but is not fixed are an error.
pub fn world(checkpoint: &Path, threads: usize, isa: Isa, numerics: Numerics) -> World {
    let mut world = World::new();
    let options = LoadOptions::default().backend(Backend::Cpu).threads(threads).isa(isa).numerics(numerics);
    load(&mut world, checkpoint, options).expect("a valid checkpoint");
    make_strict(&mut world);
    world
}

/// The same as [`world`] on two threads, with keys and values that are kept so.
pub fn world_that_keeps(checkpoint: &Path, numerics: Numerics, cache_type: CacheType) -> World {
    let mut world = World::new();
    let options = LoadOptions::default().backend(Backend::Cpu).threads(2).numerics(numerics).cache_type(cache_type);
    load(&mut world, checkpoint, options).expect("a valid checkpoint");
    make_strict(&mut world);
    world
}

/// Two systems whose order matters but is not fixed are an error from here on.
pub fn make_strict(world: &mut World) {
    let strict = ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..ScheduleBuildSettings::new() };
    for label in [BeginStep.intern(), LayerPass.intern(), EndStep.intern()] {
        world.schedule_scope(label, |_, schedule| {
            schedule.set_build_settings(strict.clone());
        });
    }
}

/// A world as `loquent generate` has it, on two threads.
pub fn default_world(checkpoint: &Path) -> World {
    world(checkpoint, 2, Isa::widest(), Numerics::Fast)
}

/// The same with weights as the files say them and activations in single precision.
pub fn exact_world(checkpoint: &Path) -> World {
    world(checkpoint, 2, Isa::widest(), Numerics::Exact)
}

/// Spawns a greedy sequence of `new` tokens, whatever ends texts elsewhere.
pub fn spawn(world: &mut World, prompt: &[u32], new: usize) -> Entity {
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
    world.spawn((Prompt::ids(prompt), Sampler::default(), rules)).id()
}

/// Advances until nothing is left to do, each call within `budget`.
pub fn run(world: &mut World, budget: Budget) {
    while advance(world, budget) != Progress::Idle {}
}

/// Runs one greedy sequence to its end and takes its tokens.
pub fn generate(world: &mut World, prompt: &[u32], new: usize) -> Vec<u32> {
    let sequence = spawn(world, prompt, new);
    run(world, Budget::Step);
    take(world, sequence)
}

/// The tokens of a finished sequence, which is despawned.
pub fn take(world: &mut World, sequence: Entity) -> Vec<u32> {
    assert!(world.get::<Finished>(sequence).is_some(), "the sequence has ended");
    let tokens = world.get::<Tokens>(sequence).expect("tokens").generated.clone();
    world.despawn(sequence);
    tokens
}

/// The logits after `prompt`.
pub fn logits(world: &mut World, prompt: &[u32], budget: Budget) -> Vec<f32> {
    let sequence = spawn(world, prompt, 0);
    run(world, budget);
    let logits = world.resource::<Logits<Cpu>>().0.row(0).to_vec();
    assert_eq!(take(world, sequence), Vec::<u32>::new());
    logits
}

/// Some token ids below `vocab_size`, the same every time.
pub fn some_prompt(length: usize, vocab_size: usize) -> Vec<u32> {
    (0..length).map(|index| (index * index * 7 + index * 13 + 5) as u32 % vocab_size as u32).collect()
}

/// The vocabulary size of the model in `world`.
pub fn vocab_size(world: &mut World) -> usize {
    world.query::<&ModelConfig>().single(world).expect("a model").vocab_size
}
