//! How a sequence ends, and how a host hears of it.

mod support;

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::model::Model;
use loquent::world::sequence::Refusal;
use support::{default_world, fixtures, generate, run, some_prompt, vocab_size};

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
    let sequence = world.spawn((Prompt(prompt.to_vec()), rules)).id();
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
    let length = StopRules { max_new_tokens: Some(6), ..StopRules::default() };
    assert_eq!(ending(&mut world, &prompt, length), FinishReason::Length);
    let stop = StopRules { max_new_tokens: Some(6), eos_token_ids: vec![9999, tokens[2]] };
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
fn a_prompt_that_cannot_be_run_is_refused_and_disturbs_nobody() {
    let mut world = world_that_listens();
    let vocab_size = vocab_size(&mut world);
    let refusals = [
        (vec![], None, Refusal::EmptyPrompt),
        (vec![1, 400, 2], None, Refusal::UnknownToken { index: 1, id: 400, vocab_size }),
        (vec![1; 510], Some(3), Refusal::ContextOverflow { prompt: 510, new: 3, context: 512 }),
        (vec![1; 513], None, Refusal::ContextOverflow { prompt: 513, new: 0, context: 512 }),
        (vec![1], Some(usize::MAX), Refusal::ContextOverflow { prompt: 1, new: usize::MAX, context: 512 }),
    ];
    for (prompt, max_new_tokens, refusal) in refusals {
        let rules = StopRules { max_new_tokens, ..StopRules::default() };
        assert_eq!(ending(&mut world, &prompt, rules), FinishReason::Refused(refusal));
    }
    assert_eq!(generate(&mut world, &[1, 2], 3).len(), 3);
}

#[test]
fn weights_that_overflow_end_a_sequence_instead_of_making_tokens_up() {
    let mut world = world_that_listens();
    for mut model in world.query::<&mut Model<Cpu>>().iter_mut(&mut world) {
        model.norm.fill(f32::MAX);
    }
    assert_eq!(ending(&mut world, &[1, 2, 3], StopRules::default()), FinishReason::NonFinite);
}
