//! What sequences may take holds, and whoever came first is served first.

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::batch::Batch;
use loquent::world::cache::OfSequence;
use loquent::world::limits::CacheCost;

use crate::support::{default_world, fixtures, generate, some_prompt, spawn, vocab_size};

fn world_within(limits: Limits) -> World {
    let mut world = default_world(&fixtures()[0]);
    world.insert_resource(limits);
    world
}

fn running(world: &mut World) -> usize {
    world.query::<&Running>().iter(world).count()
}

fn generated(world: &World, sequence: Entity) -> &[u32] {
    &world.get::<Tokens>(sequence).expect("tokens").generated
}

/// Advances to the end, and says how many rows each step had.
fn rows_of_steps(world: &mut World) -> Vec<usize> {
    let mut rows = Vec::new();
    while advance(world, Budget::Step) != Progress::Idle {
        rows.push(world.resource::<Batch>().len());
        assert!(rows.len() < 10_000, "it never ends");
    }
    rows
}

#[test]
fn no_step_has_more_rows_than_allowed_and_everybody_gets_on() {
    for rows in [1, 2, 3, 7] {
        let mut world = world_within(Limits { rows, ..Limits::default() });
        let vocab = vocab_size(&mut world);
        let prompts: Vec<Vec<u32>> = [1, 5, 17, 3, 2].map(|length| some_prompt(length, vocab)).into();
        let alone: Vec<_> = prompts.iter().map(|prompt| generate(&mut world, prompt, 9)).collect();
        let sequences: Vec<_> = prompts.iter().map(|prompt| spawn(&mut world, prompt, 9)).collect();
        let steps = rows_of_steps(&mut world);
        assert!(steps.iter().all(|&found| (1..=rows).contains(&found)), "{steps:?} of {rows}");
        for (sequence, alone) in sequences.into_iter().zip(&alone) {
            assert_eq!(generated(&world, sequence), alone);
        }
    }
}

#[test]
fn rows_for_those_that_generate_go_round() {
    let mut world = world_within(Limits { rows: 2, ..Limits::default() });
    let sequences: Vec<_> = (0..5).map(|_| spawn(&mut world, &[1], 20)).collect();
    for _ in 0..25 {
        advance(&mut world, Budget::Step);
        let lengths: Vec<_> = sequences.iter().map(|&sequence| generated(&world, sequence).len()).collect();
        let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
        assert!(most - least <= 1, "{lengths:?}");
    }
}

#[test]
fn a_prompt_is_read_while_others_generate_without_end() {
    for rows in [1, 2, 4] {
        let mut world = world_within(Limits { rows, ..Limits::default() });
        let talkers: Vec<_> = (0..4).map(|_| spawn(&mut world, &[1], 400)).collect();
        for _ in 0..10 {
            advance(&mut world, Budget::Step);
        }
        let late = spawn(&mut world, &some_prompt(12, 100), 1);
        for _ in 0..40 {
            advance(&mut world, Budget::Step);
        }
        assert_eq!(generated(&world, late).len(), 1, "{rows} rows");
        assert!(talkers.iter().all(|&talker| generated(&world, talker).len() > 1), "{rows} rows");
    }
}

#[test]
fn prompts_are_read_in_the_order_in_which_they_came() {
    let mut world = world_within(Limits { rows: 8, ..Limits::default() });
    let first = spawn(&mut world, &some_prompt(30, 100), 1);
    advance(&mut world, Budget::Step);
    // What is despawned and spawned meanwhile changes the order of entities and tables, and not that of arrival.
    let gone = spawn(&mut world, &[1], 1);
    let second = spawn(&mut world, &some_prompt(30, 100), 1);
    world.despawn(gone);
    let third = spawn(&mut world, &some_prompt(3, 100), 1);
    let mut ended = Vec::new();
    while advance(&mut world, Budget::Step) != Progress::Idle {
        let is_new = |sequence: &Entity| world.get::<Finished>(*sequence).is_some() && !ended.contains(sequence);
        ended.extend([first, second, third].into_iter().filter(is_new).collect::<Vec<_>>());
    }
    assert_eq!(ended, [first, second, third]);
}

#[test]
fn no_more_sequences_run_than_may() {
    let mut world = world_within(Limits { running: 2, ..Limits::default() });
    let sequences: Vec<_> = (0..5).map(|_| spawn(&mut world, &[1, 2], 4)).collect();
    while advance(&mut world, Budget::Step) != Progress::Idle {
        assert!(running(&mut world) <= 2);
        let began: Vec<_> = sequences.iter().map(|&sequence| world.get::<Queued>(sequence).is_none()).collect();
        assert!(began.is_sorted_by(|first, second| first >= second), "{began:?}");
    }
    assert!(sequences.iter().all(|&sequence| generated(&world, sequence).len() == 4));
}

/// A limit on bytes for as many blocks of positions as this, of as many sequences.
fn bytes_for(world: &mut World, sequences: u64, blocks: u64) -> u64 {
    let cost = *world.query::<&CacheCost>().single(world).expect("a model");
    assert!(cost.fixed > 0 && cost.block > 0);
    sequences * cost.fixed + blocks * cost.block
}

#[test]
fn caches_that_outgrow_their_bytes_send_the_last_to_come_back_to_the_queue() {
    let mut world = world_within(Limits::default());
    let prompts = [some_prompt(20, 100), some_prompt(21, 100)];
    let alone = prompts.clone().map(|prompt| generate(&mut world, &prompt, 60));
    // Both begin with a block and room for another; at 80 positions each alone needs three.
    let limit = bytes_for(&mut world, 2, 4);
    world.insert_resource(Limits { cache_bytes: Some(limit), ..Limits::default() });
    let sequences = prompts.map(|prompt| spawn(&mut world, &prompt, 60));
    let mut waited = false;
    while advance(&mut world, Budget::Step) != Progress::Idle {
        let layers = world.query::<&OfSequence>().iter(&world).count();
        let [first, second] = sequences.map(|sequence| world.get::<Queued>(sequence).is_some());
        assert!(!first, "who came first goes on");
        waited |= second && layers > 0;
    }
    assert!(waited, "the second had to wait");
    for (sequence, alone) in sequences.into_iter().zip(&alone) {
        assert_eq!(generated(&world, sequence), alone, "what was read again computes the same");
    }
}

#[test]
fn one_that_does_not_fit_alone_ends_with_a_reason_and_lets_others_in() {
    let mut world = world_within(Limits::default());
    let limit = bytes_for(&mut world, 1, 2);
    world.insert_resource(Limits { cache_bytes: Some(limit), ..Limits::default() });
    let too_long = spawn(&mut world, &some_prompt(100, 100), 4);
    let grows = spawn(&mut world, &some_prompt(20, 100), 100);
    let fits = spawn(&mut world, &some_prompt(20, 100), 8);
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    let reason = |sequence| world.get::<Finished>(sequence).expect("it has ended").0.clone();
    assert!(matches!(reason(too_long), FinishReason::CacheFull { limit: found, .. } if found == limit));
    assert!(matches!(reason(grows), FinishReason::CacheFull { .. }));
    assert_eq!(generated(&world, grows).len(), 64 - 20 + 1, "it filled what there was");
    assert_eq!(reason(fits), FinishReason::Length);
}
