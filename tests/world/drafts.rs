//! Guessing ahead changes how many rows a step has, and nothing else: whatever guesses, and however often it is right, each
//! sequence says what it says without.

mod acts;

use std::path::{Path, PathBuf};

use bevy_ecs::prelude::*;
use loquent::Backend;
use loquent::cpu::{Isa, Numerics};
use loquent::prelude::*;
use loquent::schedule::{BeginStep, EndStep};
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cache::{Caches, DeltaState, KvCache};
use loquent::world::cursor::Cursor;
use loquent::world::draft::{Draft, Drafted, Drafts};

use crate::support::{self, fixtures, make_strict, run, some_prompt, vocab_size};

/// On a sequence: what it is going to say, and how a guess at the token at each place comes out.
#[derive(Component, Clone)]
struct Guesses {
    truth: Vec<u32>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Right,
    /// Never.
    Lies,
    /// Now and then.
    Errs,
    /// Ids that no token has.
    Strays,
}

impl Guesses {
    fn at(&self, place: usize) -> u32 {
        let truth = self.truth.get(place).copied().unwrap_or(1);
        match self.kind {
            Kind::Right => truth,
            Kind::Lies => u32::from(truth == 0),
            Kind::Errs => {
                if place * place % 7 < 4 {
                    truth
                } else {
                    u32::from(truth == 0)
                }
            }
            Kind::Strays => u32::MAX - place as u32,
        }
    }
}

fn guess(mut sequences: Query<(&Guesses, &Tokens, &mut Drafted)>) {
    for (guesses, tokens, mut drafted) in &mut sequences {
        let said = tokens.generated.len();
        *drafted = Drafted {
            tokens: (said..said + 15).map(|place| guesses.at(place)).collect(),
            after: tokens.len(),
            trust: 4,
        };
    }
}

/// A world on one thread: these models are small, and many of them are run.
fn default_world(checkpoint: &Path) -> World {
    support::world(checkpoint, 1, Isa::widest(), Numerics::Fast)
}

/// The demo in four bits, as it is in the binary.
fn small_demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-q4")
}

/// A world whose steps have `drafts` guesses for each sequence.
fn world_with(checkpoint: &Path, drafts: usize) -> World {
    let mut world = default_world(checkpoint);
    world.resource_mut::<Limits>().drafts = Some(drafts);
    add_guessing(&mut world);
    world
}

/// Has those that bring them guess by their own lights.
fn add_guessing(world: &mut World) {
    world.schedule_scope(BeginStep, |_, schedule| {
        schedule.add_systems(guess.in_set(StepSystems::Draft).after(loquent::schedule::look_up_drafts));
    });
}

fn rules(new: usize) -> StopRules {
    StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) }
}

fn hot() -> Sampling {
    Sampling { temperature: 1.2, top_k: 40, repetition_penalty: 1.3, presence_penalty: 0.4, ..Sampling::default() }
}

fn sampler(sampling: &Sampling, seed: u64) -> Sampler {
    Sampler::new(sampling.clone(), seed).expect("valid settings")
}

/// What is said without guessing, and the sampler after it.
fn plainly(checkpoint: &Path, prompt: &[u32], sampling: &Sampling, seed: u64, new: usize) -> (Vec<u32>, Sampler) {
    let mut world = default_world(checkpoint);
    let sequence = world.spawn((Prompt::ids(prompt), sampler(sampling, seed), rules(new))).id();
    run(&mut world, Budget::Step);
    (generated(&world, sequence), world.get::<Sampler>(sequence).expect("a sampler").clone())
}

fn generated(world: &World, sequence: Entity) -> Vec<u32> {
    world.get::<Tokens>(sequence).expect("tokens").generated.clone()
}

#[test]
fn every_fixture_says_the_same_whatever_guesses_and_however_many() {
    for checkpoint in fixtures() {
        let size = vocab_size(&mut default_world(&checkpoint));
        let prompts = [some_prompt(3, size), some_prompt(21, size)];
        for (seed, sampling) in [(0, Sampling::default()), (3, hot())] {
            let expected: Vec<_> =
                prompts.iter().map(|prompt| plainly(&checkpoint, prompt, &sampling, seed, 40)).collect();
            for (kind, drafts) in [(Kind::Right, 15), (Kind::Lies, 3), (Kind::Errs, 5), (Kind::Strays, 4)] {
                let mut world = world_with(&checkpoint, drafts);
                let spawn = |(prompt, (truth, _)): (&Vec<u32>, &(Vec<u32>, Sampler))| {
                    let guesses = (Guesses { truth: truth.clone(), kind }, Drafted::default(), Drafts::default());
                    world.spawn((Prompt::ids(&**prompt), sampler(&sampling, seed), rules(40), guesses)).id()
                };
                let sequences: Vec<_> = prompts.iter().zip(&expected).map(spawn).collect();
                run(&mut world, Budget::Step);
                for (sequence, (truth, after)) in sequences.into_iter().zip(&expected) {
                    let what = format!("{}, {kind:?}, seed {seed}", checkpoint.display());
                    assert_eq!(generated(&world, sequence), *truth, "{what}");
                    assert_eq!(world.get::<Sampler>(sequence), Some(after), "{what}: its random numbers");
                    let drafts = world.get::<Drafts>(sequence).expect("a record");
                    match kind {
                        Kind::Right => assert!(drafts.accepted == drafts.drafted && drafts.passes < 10, "{drafts:?}"),
                        Kind::Lies => assert!(drafts.accepted == 0 && drafts.drafted > 40, "{drafts:?}"),
                        Kind::Errs => assert!(drafts.accepted > 10 && drafts.accepted < drafts.drafted, "{drafts:?}"),
                        Kind::Strays => assert!(drafts.drafted == 0 && drafts.passes == 40, "{drafts:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn caches_are_as_if_wrong_guesses_had_never_been_read() {
    let checkpoint = fixtures().into_iter().next().expect("a fixture");
    let size = vocab_size(&mut default_world(&checkpoint));
    let prompt = some_prompt(9, size);
    let (truth, _) = plainly(&checkpoint, &prompt, &Sampling::default(), 0, 60);
    let mut world = world_with(&checkpoint, 6);
    let guesses = (Guesses { truth: truth.clone(), kind: Kind::Errs }, Drafted::default(), Drafts::default());
    let sequence = world.spawn((Prompt::ids(&*prompt), Sampler::default(), rules(60), guesses)).id();
    while world.get::<Finished>(sequence).is_none() {
        advance(&mut world, Budget::Step);
        let tokens = world.get::<Tokens>(sequence).expect("tokens");
        if tokens.generated.is_empty() {
            continue;
        }
        assert_eq!(tokens.processed + 1, tokens.len(), "all but the last have been read");
        let caches: Vec<Entity> = world.get::<Caches>(sequence).expect("caches").iter().collect();
        for cache in caches {
            let states = world.get::<DeltaState<Cpu>>(cache).map(DeltaState::positions);
            let positions = states.or(world.get::<KvCache<Cpu>>(cache).map(KvCache::positions));
            assert_eq!(positions, Some(tokens.processed));
        }
    }
}

#[test]
fn an_end_within_the_guesses_ends_it_there_and_leaves_the_random_numbers_of_the_next_turn() {
    let demo = small_demo();
    for rules in [
        StopRules::after(13),
        StopRules { stop_texts: vec!["The".into()], ..StopRules::after(100) },
        StopRules::after(200),
    ] {
        let said = |drafts: Option<Vec<u32>>| {
            let mut world = world_with(&demo, 7);
            let prompt = Prompt::chat([ChatMessage::new("user", "Tell me a story about a dragon.")]);
            let sampling = Sampling { temperature: 0.7, ..Sampling::default() };
            let speaker = world.spawn((prompt, sampler(&sampling, 5), rules.clone())).id();
            if let Some(truth) = drafts {
                let guesses = Guesses { truth, kind: Kind::Errs };
                world.entity_mut(speaker).insert((guesses, Drafted::default(), Drafts::default()));
            }
            let mut text = String::new();
            let mut ids = Vec::new();
            for turn in 0..2 {
                run(&mut world, Budget::Step);
                ids.push(generated(&world, speaker));
                text += world.get::<Transcript>(speaker).expect("a transcript").text();
                text += &format!(" [{:?}] ", world.get::<Finished>(speaker));
                if turn == 0 {
                    world.entity_mut(speaker).say("And then?");
                }
            }
            let random = world.get::<Sampler>(speaker).cloned();
            (ids, text, random)
        };
        let plain = said(None);
        let guessed = said(Some(plain.0[0].clone()));
        assert_eq!(guessed, plain);
    }
}

/// Rules out the token that is two after the last one, which depends on what came just before.
fn rule_out(cursor: Res<Cursor>, batch: Res<Batch>, tokens: Query<&Tokens>, mut logits: ResMut<Logits<Cpu>>) {
    for (index, (span, row)) in cursor.logit_rows(&batch).enumerate() {
        let Ok(tokens) = tokens.get(span.sequence) else { continue };
        let last = batch.drafts_before(span, row).last().copied().or(tokens.iter().last());
        let logits = logits.0.slice_mut(index..index + 1);
        let size = logits.len();
        for ahead in 0..size / 2 {
            logits[(last.unwrap_or(0) as usize + 2 + ahead) % size] = f32::NEG_INFINITY;
        }
    }
}

#[test]
fn masks_know_which_guesses_a_row_follows() {
    for checkpoint in fixtures().into_iter().take(3) {
        let size = vocab_size(&mut default_world(&checkpoint));
        let said = |drafts: usize, truth: Option<Vec<u32>>| {
            let mut world = world_with(&checkpoint, drafts);
            world.schedule_scope(EndStep, |_, schedule| {
                schedule.add_systems(rule_out.in_set(StepSystems::Constrain));
            });
            let sequence = world.spawn((Prompt::ids(some_prompt(5, size)), sampler(&hot(), 1), rules(50))).id();
            if let Some(truth) = truth {
                let guesses = (Guesses { truth, kind: Kind::Errs }, Drafted::default(), Drafts::default());
                world.entity_mut(sequence).insert(guesses);
            }
            run(&mut world, Budget::Step);
            let accepted = world.get::<Drafts>(sequence).map(|drafts| drafts.accepted);
            (generated(&world, sequence), accepted)
        };
        let (truth, _) = said(0, None);
        let (found, accepted) = said(6, Some(truth.clone()));
        assert_eq!(found, truth);
        assert!(accepted > Some(10));
    }
}

/// Leaves one token: that which the text would go on with if it were its prompt again and again.
fn quote(cursor: Res<Cursor>, batch: Res<Batch>, tokens: Query<&Tokens>, mut logits: ResMut<Logits<Cpu>>) {
    for (index, (span, row)) in cursor.logit_rows(&batch).enumerate() {
        let Ok(tokens) = tokens.get(span.sequence) else { continue };
        let place = tokens.len() + batch.drafts_before(span, row).len();
        let wanted = tokens.prompt[place % tokens.prompt.len()] as usize;
        let logits = logits.0.slice_mut(index..index + 1);
        (0..logits.len()).filter(|&id| id != wanted).for_each(|id| logits[id] = f32::NEG_INFINITY);
    }
}

#[test]
fn a_text_that_quotes_takes_few_passes_with_lookup() {
    for checkpoint in fixtures().into_iter().take(2) {
        let size = vocab_size(&mut default_world(&checkpoint));
        let mut world = default_world(&checkpoint);
        world.schedule_scope(EndStep, |_, schedule| {
            schedule.add_systems(quote.in_set(StepSystems::Constrain));
        });
        world.resource_mut::<Limits>().drafts = Some(15);
        let prompt = some_prompt(40, size);
        let sequence = world.spawn((Prompt::ids(&*prompt), Sampler::default(), rules(160), Draft::Lookup)).id();
        run(&mut world, Budget::Step);
        assert_eq!(generated(&world, sequence), prompt.repeat(4));
        let drafts = world.get::<Drafts>(sequence).expect("a record");
        assert!(drafts.tokens_per_pass() > 6.0, "{drafts:?}");
    }
}

/// A world with the model of `checkpoint`, and that of `other` to guess for it.
fn world_with_two(checkpoint: &Path, other: &Path) -> (World, Entity, Entity) {
    let mut world = World::new();
    let options = || LoadOptions::default().backend(Backend::Cpu).threads(1);
    let model = load(&mut world, checkpoint, options()).expect("a valid checkpoint");
    let drafter = load(&mut world, other, options()).expect("a valid checkpoint");
    make_strict(&mut world);
    (world, model, drafter)
}

#[test]
fn another_model_guesses_and_nobody_hears_it() {
    let all = fixtures();
    let named = |name: &str| all.iter().find(|path| path.ends_with(name)).expect("a fixture").clone();
    for (checkpoint, other, agrees) in [
        (named("tied-bf16"), named("tied-bf16"), true),
        (named("qwen3-tied"), named("qwen3-tied"), true),
        (named("tied-bf16"), named("sharded-bf16"), false),
    ] {
        let size = vocab_size(&mut default_world(&checkpoint));
        let prompts = [some_prompt(3, size), some_prompt(21, size), some_prompt(70, size)];
        for (sampling, drafts, budget) in [
            (Sampling::default(), Some(4), Budget::Step),
            (hot(), Some(3), Budget::Pieces(2)),
            (Sampling::default(), None, Budget::Step),
        ] {
            let (mut world, model, drafter) = world_with_two(&checkpoint, &other);
            world.resource_mut::<Limits>().drafts = drafts;
            let spawn = |(index, prompt): (usize, &Vec<u32>)| {
                let draft = (index != 1).then_some(Draft::Model(drafter));
                let prompt = (Prompt::ids(&**prompt), SpeaksWith(model), sampler(&sampling, 9), rules(40));
                let sequence = world.spawn(prompt).id();
                draft.into_iter().for_each(|draft| _ = world.entity_mut(sequence).insert(draft));
                sequence
            };
            let sequences: Vec<Entity> = prompts.iter().enumerate().map(spawn).collect();
            run(&mut world, budget);
            let heard: Vec<Entity> =
                world.resource_mut::<Messages<TokenGenerated>>().drain().map(|token| token.sequence).collect();
            assert!(heard.iter().all(|sequence| sequences.contains(sequence)), "guesses are not heard");
            for (&sequence, prompt) in sequences.iter().zip(&prompts) {
                let (truth, after) = plainly(&checkpoint, prompt, &sampling, 9, 40);
                assert_eq!(generated(&world, sequence), truth, "{}", checkpoint.display());
                assert_eq!(world.get::<Sampler>(sequence), Some(&after));
                let found = world.get::<Drafts>(sequence).filter(|_| agrees && drafts == Some(4));
                assert!(found.is_none_or(|drafts| drafts.tokens_per_pass() > 1.5), "{found:?}");
                world.despawn(sequence);
            }
            advance(&mut world, Budget::Step);
            let left = world.query::<&Tokens>().iter(&world).count();
            assert_eq!(left, 0, "who guessed goes with the one that it guessed for");
        }
    }
}

#[test]
fn a_draft_that_cannot_be_is_taken_away_and_the_text_is_the_same() {
    let checkpoint = fixtures().into_iter().next().expect("a fixture");
    let size = vocab_size(&mut default_world(&checkpoint));
    let (truth, _) = plainly(&checkpoint, &some_prompt(5, size), &Sampling::default(), 0, 20);
    let mut world = default_world(&checkpoint);
    let nobody = world.spawn_empty().id();
    for draft in [Draft::Mtp, Draft::Model(nobody)] {
        let prompt = Prompt::ids(some_prompt(5, size));
        let sequence = world.spawn((prompt, Sampler::default(), rules(20), draft)).id();
        run(&mut world, Budget::Step);
        assert_eq!((generated(&world, sequence), world.get::<Draft>(sequence)), (truth.clone(), None), "{draft:?}");
    }
}

/// A world with a model and its own head for guessing.
fn world_with_head(checkpoint: &Path) -> World {
    let mut world = World::new();
    let options = LoadOptions::default().backend(Backend::Cpu).threads(1).mtp(true);
    load(&mut world, checkpoint, options).expect("a valid checkpoint");
    make_strict(&mut world);
    world
}

#[derive(serde::Deserialize)]
struct Drafting {
    prompt: Vec<u32>,
    next: u32,
    drafts: Vec<u32>,
}

#[test]
fn the_models_own_head_guesses_as_it_does_in_torch() {
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mtp-tied");
    let text = std::fs::read_to_string(checkpoint.join("drafts.json")).expect("drafts.json");
    let cases: Vec<Drafting> = serde_json::from_str(&text).expect("drafts.json");
    for rows in [256, 7, 1] {
        let mut world = world_with_head(&checkpoint);
        *world.resource_mut::<Limits>() = Limits { rows, drafts: Some(3), ..Limits::default() };
        let spawn =
            |case: &Drafting| world.spawn((Prompt::ids(&*case.prompt), Sampler::default(), rules(30), Draft::Mtp)).id();
        let sequences: Vec<Entity> = cases.iter().map(spawn).collect();
        let mut compared = vec![false; cases.len()];
        while advance(&mut world, Budget::Step) != Progress::Idle {
            for ((case, &sequence), compared) in cases.iter().zip(&sequences).zip(&mut compared) {
                let drafted = world.get::<Drafted>(sequence).expect("guesses");
                // As many as go before a delta net has its state go on.
                if drafted.after == case.prompt.len() + 1 && !*compared {
                    let said = generated(&world, sequence);
                    assert_eq!(said[0], case.next);
                    assert_eq!(drafted.tokens, case.drafts[..drafted.tokens.len()]);
                    *compared = !drafted.tokens.is_empty();
                }
            }
        }
        assert!(compared.iter().all(|&compared| compared), "{rows} rows");
        for (case, &sequence) in cases.iter().zip(&sequences) {
            let (truth, _) = plainly(&checkpoint, &case.prompt, &Sampling::default(), 0, 30);
            assert_eq!(generated(&world, sequence), truth);
        }
    }
}

#[test]
fn stories_take_few_passes_with_the_demos_own_head() {
    let said = |draft: Option<Draft>, sampling: &Sampling| {
        let mut world = world_with_head(&small_demo());
        world.resource_mut::<Limits>().drafts = Some(3);
        let mut spawn = |text: &str| {
            let sequence = world.spawn((Prompt::text(text), sampler(sampling, 3), rules(60))).id();
            draft.into_iter().for_each(|draft| _ = world.entity_mut(sequence).insert(draft));
            sequence
        };
        let sequences = [spawn("Once upon a time"), spawn("It was raining, and Ben wanted to go outside and play.")];
        run(&mut world, Budget::Step);
        sequences.map(|sequence| (generated(&world, sequence), world.get::<Drafts>(sequence).cloned()))
    };
    for sampling in [Sampling::default(), Sampling { temperature: 0.5, top_p: 0.9, ..Sampling::default() }] {
        let plain = said(None, &sampling);
        for ((found, drafts), (truth, _)) in said(Some(Draft::Mtp), &sampling).into_iter().zip(plain) {
            assert_eq!(found, truth);
            let drafts = drafts.expect("a record");
            assert!(drafts.tokens_per_pass() > 2.2, "{drafts:?}");
        }
    }
}
