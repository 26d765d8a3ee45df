//! What guessing ahead is worth on this machine, of the 0.8B shape in four bits on the CPU: what passes of few rows take, of one
//! sequence and of several, and how much faster texts come with guesses that are right as often as they are told to be.
//!
//! `cargo bench --bench drafts -- [TOKENS]`, 256 unless told otherwise.

mod support;

use std::path::Path;
use std::time::Instant;

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::{BeginStep, EndStep};
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cursor::Cursor;
use loquent::world::draft::{Draft, Drafted, Drafts};
use support::random::{Matrices, RandomWeights};

/// On a sequence: what it is going to say, and how often guesses are right, each where those before it were.
#[derive(Component, Clone, Default)]
struct Script {
    truth: Vec<u32>,
    rates: Vec<f64>,
}

impl Script {
    /// Guesses after the first `said` tokens.
    fn guesses(&self, said: usize) -> Vec<u32> {
        let places = (said..self.truth.len()).zip(&self.rates);
        places
            .map(|(place, rate)| {
                // As good as random, and the same in each run.
                let chance = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                let is_right = (chance as f64) < rate * f64::from(1 << 24);
                if is_right { self.truth[place] } else { self.truth[place] ^ 1 }
            })
            .collect()
    }
}

/// Puts guesses by the script in the place of others, or where there are none.
fn guess(mut sequences: Query<(&Script, &Tokens, &mut Drafted, Has<Draft>)>) {
    for (script, tokens, mut drafted, others) in &mut sequences {
        if others && drafted.after != tokens.len() {
            continue;
        }
        let mut guesses = script.guesses(tokens.generated.len());
        if others {
            guesses.truncate(drafted.tokens.len());
        }
        *drafted = Drafted { tokens: guesses, after: tokens.len(), trust: 4 };
    }
}

/// On a sequence: it says its prompt again and again.
#[derive(Component, Clone)]
struct Quotes;

fn quote(
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    tokens: Query<&Tokens, With<Quotes>>,
    mut logits: ResMut<Logits<Cpu>>,
) {
    for (index, (span, row)) in cursor.logit_rows(&batch).enumerate() {
        let Ok(tokens) = tokens.get(span.sequence) else { continue };
        let place = tokens.len() + batch.drafts_before(span, row).len();
        logits.0.slice_mut(index..index + 1)[tokens.prompt[place % tokens.prompt.len()] as usize] = 1e30;
    }
}

fn main() {
    let tokens = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(256);
    let mut world = world();
    println!(
        "the 0.8B shape in four bits, {} threads, {}",
        world.resource::<Workers>().threads(),
        world.resource::<Workers>().isa()
    );
    // The first run finds nothing in its place.
    plain(&mut world, 1, tokens);
    let (truth, alone) = plain(&mut world, 1, tokens);
    println!("one token a pass: {:.2} ms, {:.1} tokens/s", 1e3 * alone, 1.0 / alone);
    for rows in [2, 4, 8, 16] {
        let took = pass(&mut world, &truth, rows);
        println!("{rows:>2} rows of one sequence: {:.2} ms, {:.2} x one", 1e3 * took, took / alone);
    }
    for sequences in [2, 4, 8, 16] {
        let (_, took) = plain(&mut world, sequences, tokens);
        println!("{sequences:>2} sequences together: {:.1} tokens/s, {:.2} x one", 1.0 / took, alone / took);
    }
    println!("medians of three runs with and without guesses in turn");
    for (name, rates) in [
        ("always right", vec![1.0; 15]),
        ("right as the demo's head is on stories (93, 95, 95 %)", vec![0.93, 0.95, 0.95]),
        ("right two times in three", vec![0.67; 15]),
        ("right one time in three", vec![0.33; 15]),
        ("never right", vec![0.0; 15]),
    ] {
        let script = Script { truth: truth.clone(), rates };
        let at_no_cost = (script.clone(), Drafted::default(), Drafts::default());
        report(&mut world, &format!("guesses {name}, at no cost"), (), at_no_cost, tokens);
        report(
            &mut world,
            &format!("guesses {name}, at the cost of the model's own head"),
            (),
            (script, Draft::Mtp),
            tokens,
        );
    }
    let any = Sampling { temperature: 1.0, top_k: 40, ..Sampling::default() };
    report(&mut world, "lookup in a text that does not quote", any, Draft::Lookup, tokens);
    report(&mut world, "lookup in a text that quotes", Quotes, Draft::Lookup, tokens);
}

fn world() -> World {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/configs/qwen3.5-0.8b.json");
    let mut config = ModelConfig::read(&file).expect("a configuration");
    config.mtp = true;
    let mut world = World::new();
    let options = LoadOptions::default().backend(Backend::Cpu).mtp(true);
    let model = LoadedModel::from_tensors(&config, &mut RandomWeights { matrices: Matrices::Q4 }, options, |_| {});
    model.expect("weights of any shape").spawn(&mut world);
    world.schedule_scope(BeginStep, |_, schedule| {
        schedule.add_systems(guess.in_set(StepSystems::Draft).after(loquent::schedule::look_up_drafts));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(quote.in_set(StepSystems::Constrain));
    });
    world
}

fn spawn(world: &mut World, new: usize) -> Entity {
    let ids: Vec<u32> = (0..64_u32).map(|index| index * 7919 % 248_320).collect();
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
    world.spawn((Prompt::ids(ids), Sampling::default(), rules)).id()
}

/// Reads the prompts.
fn begin(world: &mut World, sequences: &[Entity]) {
    while sequences
        .iter()
        .any(|&sequence| world.get::<Tokens>(sequence).is_some_and(|tokens| tokens.generated.is_empty()))
    {
        advance(world, Budget::Step);
    }
}

fn said(world: &World, sequence: Entity) -> usize {
    world.get::<Tokens>(sequence).map_or(0, |tokens| tokens.generated.len())
}

/// What one of some sequences says together with the others, and the seconds that a token takes.
fn plain(world: &mut World, sequences: usize, tokens: usize) -> (Vec<u32>, f64) {
    let sequences: Vec<Entity> = (0..sequences).map(|_| spawn(world, tokens)).collect();
    begin(world, &sequences);
    let before: usize = sequences.iter().map(|&sequence| said(world, sequence)).sum();
    let started = Instant::now();
    while advance(world, Budget::Step) != Progress::Idle {}
    let took = started.elapsed().as_secs_f64();
    let after: usize = sequences.iter().map(|&sequence| said(world, sequence)).sum();
    let truth = world.get::<Tokens>(sequences[0]).expect("tokens").generated.clone();
    sequences.into_iter().for_each(|sequence| _ = world.despawn(sequence));
    (truth, took / (after - before) as f64)
}

/// The median of what a pass of so many rows of one sequence takes.
fn pass(world: &mut World, truth: &[u32], rows: usize) -> f64 {
    world.resource_mut::<Limits>().drafts = Some(rows - 1);
    let mut times = Vec::new();
    while times.len() < 12 {
        let sequence = spawn(world, truth.len());
        let script = Script { truth: truth.to_vec(), rates: vec![1.0; 15] };
        world.entity_mut(sequence).insert((script, Drafted::default(), Drafts::default()));
        begin(world, &[sequence]);
        loop {
            let started = Instant::now();
            if advance(world, Budget::Step) == Progress::Idle {
                break;
            }
            if world.resource::<Batch>().len() == rows {
                times.push(started.elapsed().as_secs_f64());
            }
        }
        world.despawn(sequence);
    }
    world.resource_mut::<Limits>().drafts = None;
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The seconds that a token takes of a sequence with these components, and what came of its guesses.
fn speculated(world: &mut World, with: impl Bundle, tokens: usize) -> (f64, Drafts) {
    let sequence = spawn(world, tokens);
    world.entity_mut(sequence).insert(with);
    begin(world, &[sequence]);
    let before = said(world, sequence);
    let started = Instant::now();
    while advance(world, Budget::Step) != Progress::Idle {}
    let took = started.elapsed().as_secs_f64();
    let drafts = world.get::<Drafts>(sequence).cloned().unwrap_or_default();
    let after = said(world, sequence);
    world.despawn(sequence);
    advance(world, Budget::Step);
    (took / (after - before) as f64, drafts)
}

fn report(world: &mut World, what: &str, text: impl Bundle + Clone, guesses: impl Bundle + Clone, tokens: usize) {
    let mut with_and_without = [Vec::new(), Vec::new()];
    let mut drafts = Drafts::default();
    for _ in 0..3 {
        let (took, came) = speculated(world, (text.clone(), guesses.clone()), tokens);
        with_and_without[0].push(took);
        with_and_without[1].push(speculated(world, text.clone(), tokens).0);
        drafts = came;
    }
    let [with, without] = with_and_without.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[1]
    });
    println!(
        "{what}: {:.1} tokens/s, {:.2} x without; {:.2} tokens a pass, {} of {} right",
        1.0 / with,
        without / with,
        drafts.tokens_per_pass(),
        drafts.accepted,
        drafts.drafted,
    );
}
