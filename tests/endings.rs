//! How a sequence ends, and how a host hears of it.

mod support;

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::cache::OfSequence;
use loquent::world::model::Model;
use loquent::world::refusal::Refusal;
use support::{default_world, fixtures, generate, run, some_prompt, spawn, vocab_size};

/// Every [`SequenceFinished`] that an observer saw.
#[derive(Resource, Default)]
struct Heard(Vec<(Entity, FinishReason)>);

fn world_that_listens() -> World {
    let mut world = default_world(&fixtures()[0]);
    world.init_resource::<Heard>();
    world.add_observer(|finished: On<SequenceFinished>, mut heard: ResMut<Heard>| {
        heard.0.push((finished.sequence, finished.reason.clone()));
    });
    world
}

/// Why a sequence of `prompt` under `rules` ends, as its component and the event say alike.
fn ending(world: &mut World, prompt: &[u32], rules: StopRules) -> FinishReason {
    let sequence = world.spawn((Prompt::ids(prompt), rules)).id();
    run(world, Budget::Step);
    let reason = world.get::<Finished>(sequence).expect("it has ended").0.clone();
    assert_eq!(world.resource::<Heard>().0.last(), Some(&(sequence, reason.clone())));
    assert!(world.get::<Running>(sequence).is_none() && world.get::<Queued>(sequence).is_none());
    reason
}

#[test]
fn each_token_is_a_message_in_order() {
    let mut world = world_that_listens();
    let prompt = some_prompt(5, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 6);
    let messages: Vec<_> = world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
    assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), expected);
    assert_eq!(messages.iter().map(|message| message.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_sequence_ends_at_its_length_or_at_a_stop_token() {
    let mut world = world_that_listens();
    let prompt = some_prompt(5, vocab_size(&mut world));
    let tokens = generate(&mut world, &prompt, 6);
    let length = StopRules::after(6);
    assert_eq!(ending(&mut world, &prompt, length), FinishReason::Length);
    let stop = StopRules { max_new_tokens: Some(6), end_tokens: Some(vec![9999, tokens[2]]), ..StopRules::default() };
    assert_eq!(ending(&mut world, &prompt, stop), FinishReason::Stop);
}

#[test]
fn without_a_limit_a_sequence_ends_at_the_last_position() {
    let mut world = world_that_listens();
    let prompt = some_prompt(500, vocab_size(&mut world));
    assert_eq!(ending(&mut world, &prompt, StopRules::default()), FinishReason::Length);
    let mut sequences = world.query::<&Tokens>();
    let generated = sequences.single(&world).expect("one sequence").generated.len();
    assert_eq!(500 + generated, 512, "the fixture has 512 positions");
}

#[test]
fn more_new_tokens_than_there_are_positions_are_at_most_that_many() {
    let mut world = world_that_listens();
    for (prompt, new, generated) in [(510, 3, 2), (512, 3, 0), (1, usize::MAX, 511)] {
        let prompt = some_prompt(prompt, vocab_size(&mut world));
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
        assert_eq!(ending(&mut world, &prompt, rules), FinishReason::Length);
        let mut sequences = world.query::<(Entity, &Tokens)>();
        let (sequence, tokens) = sequences.single(&world).expect("one sequence");
        assert_eq!(tokens.generated.len(), generated);
        world.despawn(sequence);
    }
}

#[test]
fn a_prompt_that_cannot_be_run_is_refused_and_disturbs_nobody() {
    let mut world = world_that_listens();
    let vocab_size = vocab_size(&mut world);
    let refusals = [
        (vec![], Refusal::EmptyPrompt),
        (vec![1, 400, 2], Refusal::UnknownToken { index: 1, id: 400, vocab_size }),
        (vec![1; 513], Refusal::PromptTooLong { prompt: 513, context: 512 }),
    ];
    for (prompt, refusal) in refusals {
        assert_eq!(ending(&mut world, &prompt, StopRules::default()), FinishReason::Refused(refusal));
    }
    assert_eq!(generate(&mut world, &[1, 2], 3).len(), 3);
}

#[test]
fn a_second_prompt_or_a_second_queueing_is_refused_and_leaks_nothing() {
    let mut world = world_that_listens();
    let caches = |world: &mut World| world.query::<&OfSequence>().iter(world).count();
    let second_prompt =
        |world: &mut World, sequence: Entity| _ = world.entity_mut(sequence).insert(Prompt::ids([5; 26]));
    let queued_by_hand = |world: &mut World, sequence: Entity| _ = world.entity_mut(sequence).insert(Queued);
    for again in [second_prompt as fn(&mut World, Entity), queued_by_hand] {
        for steps in [2, 100] {
            let sequence = spawn(&mut world, &[1, 2, 3], 8);
            for _ in 0..steps {
                advance(&mut world, Budget::Step);
            }
            let before = caches(&mut world);
            again(&mut world, sequence);
            run(&mut world, Budget::Step);
            let refused = FinishReason::Refused(Refusal::AlreadyBegun);
            assert_eq!(world.resource::<Heard>().0.last(), Some(&(sequence, refused)));
            assert_eq!(caches(&mut world), before);
            world.despawn(sequence);
        }
    }
}

#[test]
fn weights_that_overflow_end_a_sequence_instead_of_making_tokens_up() {
    let mut world = world_that_listens();
    for mut model in world.query::<&mut Model<Cpu>>().iter_mut(&mut world) {
        model.norm.fill(f32::MAX);
    }
    assert_eq!(ending(&mut world, &[1, 2, 3], StopRules::default()), FinishReason::NonFinite);
}
