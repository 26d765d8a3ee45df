//! A game's frames: how far calls go beyond a budget of time while speakers come and go, what a budget costs, and forks.
//!
//! `cargo bench --bench frames -- [FRAMES]`, 10 000 unless told otherwise, of the 0.8B shape in four bits on the CPU.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use bevy_ecs::entity::EntityCloner;
use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot};
use loquent::world::batch::Batch;
use support::random::{Matrices, RandomWeights};

const BUDGETS: [u64; 3] = [2, 4, 8];
/// Frames from one newcomer to the next, whose prompt is short or long by turns.
const NEWCOMERS: usize = 500;
const PROMPTS: [usize; 2] = [300, 3000];

fn main() {
    let frames = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let mut world = world();
    println!("of the 0.8B shape in four bits, {} threads, {}", threads(&world), isa(&world));
    let [decode, prompt] = rates(&mut world, Budget::Step);
    println!("without a budget: decode of two {decode:.1} tokens/s, a prompt of 1000 {prompt:.1} tokens/s");
    println!("budget    overshoot p50     p95     p99     most  over 0.3 ms   decode       prompt");
    for budget in BUDGETS {
        let time = Duration::from_millis(budget);
        // What pieces cost is known from the frames before, as in a game that has run for a while.
        overshoots(&mut world, time, frames / 20);
        let over = overshoots(&mut world, time, frames);
        let [slower_decode, slower_prompt] = rates(&mut world, Budget::Time(time));
        println!(
            "{budget:>4} ms  {}  {:>5.1} ({:.0} %)  {:>6.1} ({:.0} %)",
            distribution(&over),
            slower_decode,
            100.0 * slower_decode / decode,
            slower_prompt,
            100.0 * slower_prompt / prompt,
        );
        println!(" watching  {}", distribution(&watching(threads(&world), time, frames)));
    }
    crowd(&mut world);
    forks(&mut world);
    snapshots(&mut world);
}

fn world() -> World {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/configs/qwen3.5-0.8b.json");
    let config = ModelConfig::read(&file).expect("a configuration");
    let mut world = World::new();
    let options = LoadOptions::default().backend(Backend::Cpu);
    let model = LoadedModel::from_tensors(&config, &mut RandomWeights { matrices: Matrices::Q4 }, options, |_| {});
    model.expect("weights of any shape").spawn(&mut world);
    world
}

fn threads(world: &World) -> usize {
    world.resource::<Workers>().threads()
}

fn isa(world: &World) -> String {
    world.resource::<Workers>().isa().to_string()
}

fn spawn(world: &mut World, prompt: usize, new: usize) -> Entity {
    let ids: Vec<u32> = (0..prompt as u32).map(|index| index * 7919 % 248_320).collect();
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
    world.spawn((Prompt::ids(ids), Sampling { temperature: 0.7, top_k: 20, ..Sampling::default() }, rules)).id()
}

fn clear(world: &mut World) {
    let all: Vec<Entity> = world.query_filtered::<Entity, With<Tokens>>().iter(world).collect();
    all.into_iter().for_each(|sequence| _ = world.despawn(sequence));
    advance(world, Budget::Step);
    world.resource_mut::<Messages<TokenGenerated>>().clear();
}

/// By how many seconds calls went beyond the budget, the least first.
fn overshoots(world: &mut World, budget: Duration, frames: usize) -> Vec<f64> {
    let mut over = Vec::with_capacity(frames);
    (0..2).for_each(|_| _ = spawn(world, 50, 100_000));
    for frame in 0..frames {
        if frame % NEWCOMERS == NEWCOMERS / 2 {
            spawn(world, PROMPTS[frame / NEWCOMERS % PROMPTS.len()], 20);
        }
        let started = Instant::now();
        advance(world, Budget::Time(budget));
        let took = started.elapsed();
        over.push(took.saturating_sub(budget).as_secs_f64());
        world.resource_mut::<Messages<TokenGenerated>>().clear();
    }
    clear(world);
    over.sort_by(f64::total_cmp);
    over
}

/// The same of as many threads that only watch the clock: what the machine takes away by itself.
fn watching(threads: usize, budget: Duration, frames: usize) -> Vec<f64> {
    let frame = || {
        let started = Instant::now();
        let watch = || while started.elapsed() < budget {};
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| _ = scope.spawn(watch));
            watch();
        });
        started.elapsed().saturating_sub(budget).as_secs_f64()
    };
    let mut over: Vec<f64> = (0..frames).map(|_| frame()).collect();
    over.sort_by(f64::total_cmp);
    over
}

fn distribution(over: &[f64]) -> String {
    let at = |share: f64| 1e3 * over[((over.len() - 1) as f64 * share) as usize];
    let late = over.iter().filter(|&&over| over > 3e-4).count() as f64 / over.len() as f64;
    format!("{:>10.3} ms {:>7.3} {:>7.3} {:>8.3} {:>10.2} %", at(0.5), at(0.95), at(0.99), at(1.0), 100.0 * late)
}

/// Tokens a second of decoding two sequences, and of a prompt.
fn rates(world: &mut World, budget: Budget) -> [f64; 2] {
    const NEW: usize = 100;
    const PROMPT: usize = 1000;
    let mut inside = Duration::ZERO;
    let mut run = |world: &mut World, done: &dyn Fn(&World) -> bool| {
        inside = Duration::ZERO;
        while !done(world) {
            let started = Instant::now();
            advance(world, budget);
            inside += started.elapsed();
        }
        inside.as_secs_f64()
    };
    let generated = |world: &World, of: Entity| world.get::<Tokens>(of).map_or(0, |tokens| tokens.generated.len());
    let speakers = [(); 2].map(|()| spawn(world, 50, 1_000_000));
    run(world, &|world| speakers.iter().all(|&speaker| generated(world, speaker) > 0));
    let before: usize = speakers.iter().map(|&speaker| generated(world, speaker)).sum();
    let seconds = run(world, &|world| generated(world, speakers[1]) >= NEW);
    let after: usize = speakers.iter().map(|&speaker| generated(world, speaker)).sum();
    clear(world);
    let reader = spawn(world, PROMPT, 1);
    let read = run(world, &|world| generated(world, reader) > 0);
    clear(world);
    [(after - before) as f64 / seconds, PROMPT as f64 / read]
}

/// Many speakers, and how many of them are in a step.
fn crowd(world: &mut World) {
    const SPEAKERS: usize = 256;
    let speakers: Vec<Entity> = (0..SPEAKERS).map(|_| spawn(world, 3, 1_000_000)).collect();
    let budget = Duration::from_millis(3);
    let (mut over, mut rows) = (Vec::new(), Vec::new());
    let mut frames = 0;
    let begun = |world: &World| {
        speakers.iter().all(|&of| !world.get::<Tokens>(of).is_none_or(|tokens| tokens.generated.is_empty()))
    };
    while frames < 2000 || !begun(world) {
        let started = Instant::now();
        advance(world, Budget::Time(budget));
        over.push(started.elapsed().saturating_sub(budget).as_secs_f64() * 1e3);
        rows.push(world.resource::<Batch>().len());
        frames += 1;
    }
    over.sort_by(f64::total_cmp);
    rows.sort_unstable();
    println!(
        "{SPEAKERS} speakers, 3 ms: {} rows a step, overshoot p95 {:.3} ms, p99 {:.3}; all have spoken after {frames} frames",
        rows[rows.len() / 2],
        over[over.len() * 95 / 100],
        over[over.len() * 99 / 100],
    );
    clear(world);
}

/// What a copy of a sequence with 200 and 3000 tokens takes, by our own request and by Bevy's cloner.
fn forks(world: &mut World) {
    const FORKS: usize = 200;
    for tokens in [200, 3000] {
        let original = spawn(world, tokens, 1_000_000);
        while world.get::<Tokens>(original).is_none_or(|found| found.generated.len() < 3) {
            advance(world, Budget::Step);
        }
        let started = Instant::now();
        for _ in 0..FORKS {
            let fork = world.spawn_empty().id();
            EntityCloner::build_opt_out(world).linked_cloning(true).clone_entity(original, fork);
        }
        let cloned = started.elapsed().as_secs_f64() / FORKS as f64;
        clear_but(world, original);
        for _ in 0..FORKS {
            let fork = world.entity_mut(original).fork();
            world.entity_mut(fork).pause();
        }
        world.entity_mut(original).pause();
        let started = Instant::now();
        advance(world, Budget::Step);
        let forked = started.elapsed().as_secs_f64() / FORKS as f64;
        println!("a fork at {tokens} tokens: {:.1} µs, by Bevy's cloner {:.1} µs", 1e6 * forked, 1e6 * cloned);
        clear(world);
    }
}

/// What it takes to save and restore a sequence of 200 tokens.
fn snapshots(world: &mut World) {
    let model = world.query_filtered::<Entity, With<ModelConfig>>().single(world).expect("a model");
    let original = spawn(world, 200, 1_000_000);
    while world.get::<Tokens>(original).is_none_or(|found| found.generated.is_empty()) {
        advance(world, Budget::Step);
    }
    for contents in [Contents::AsStored, Contents::Half, Contents::Tokens] {
        const SNAPSHOTS: usize = 20;
        let started = Instant::now();
        let bytes =
            (0..SNAPSHOTS).map(|_| Snapshot::take(world, original, contents).expect("a snapshot").to_bytes()).last();
        let taken = started.elapsed().as_secs_f64() / SNAPSHOTS as f64;
        let bytes = bytes.expect("a snapshot");
        let started = Instant::now();
        for _ in 0..SNAPSHOTS {
            Snapshot::from_bytes(&bytes).expect("a snapshot").restore(world, model).expect("the same model");
        }
        let restored = started.elapsed().as_secs_f64() / SNAPSHOTS as f64;
        println!(
            "a snapshot of 200 tokens, {contents:?}: {} bytes, {:.0} a second taken, {:.0} restored",
            bytes.len(),
            1.0 / taken,
            1.0 / restored
        );
        clear_but(world, original);
    }
}

fn clear_but(world: &mut World, kept: Entity) {
    let all: Vec<Entity> = world.query_filtered::<Entity, With<Tokens>>().iter(world).collect();
    all.into_iter().filter(|&sequence| sequence != kept).for_each(|sequence| _ = world.despawn(sequence));
}
