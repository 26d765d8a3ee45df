//! A step may be cut between any two pieces: what comes out is the same, and what happens in between does no harm.

use std::time::Duration;

use loquent::prelude::*;
use loquent::world::cursor::Cursor;

use crate::support::{default_world, fixtures, generate, logits, run, some_prompt, spawn, take, vocab_size};

#[test]
fn a_step_cut_between_any_two_layers_gives_the_same_tokens_and_logits() {
    for checkpoint in fixtures() {
        let mut world = default_world(&checkpoint);
        let prompt = some_prompt(17, vocab_size(&mut world));
        let tokens = generate(&mut world, &prompt, 12);
        let expected = logits(&mut world, &prompt, Budget::Step);
        for pieces in 1..=5 {
            let sequence = spawn(&mut world, &prompt, 12);
            run(&mut world, Budget::Pieces(pieces));
            assert_eq!(take(&mut world, sequence), tokens, "{} by {pieces}", checkpoint.display());
            let found = logits(&mut world, &prompt, Budget::Pieces(pieces));
            assert!(found == expected, "{} by {pieces}", checkpoint.display());
        }
    }
}

#[test]
fn every_call_of_one_piece_moves_the_cursor_by_one() {
    let mut world = default_world(&fixtures()[0]);
    let layers = world.query::<&ModelConfig>().single(&world).expect("a model").layer_types.len();
    spawn(&mut world, &[1, 2, 3], 1);
    for layer in 1..layers {
        assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::Suspended);
        assert_eq!(*world.resource::<Cursor>(), Cursor::Layer(layer));
    }
    assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::Suspended);
    assert!(matches!(*world.resource::<Cursor>(), Cursor::Head(_)));
    assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::Suspended);
    let Cursor::Head(picks) = world.resource::<Cursor>() else { panic!("the logits are there, and nothing is picked") };
    assert_eq!((picks.slice().len(), picks.picks()), (0, 0..1));
    assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::StepDone);
    assert_eq!(*world.resource::<Cursor>(), Cursor::Begin);
}

#[test]
fn no_time_at_all_still_makes_progress() {
    let mut world = default_world(&fixtures()[0]);
    let prompt = some_prompt(5, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 8);
    let sequence = spawn(&mut world, &prompt, 8);
    let mut calls = 0;
    while advance(&mut world, Budget::Time(Duration::ZERO)) != Progress::Idle {
        calls += 1;
        assert!(calls < 10_000, "it never ends");
    }
    assert!(calls > 8, "no time is at most a piece a call");
    assert_eq!(take(&mut world, sequence), expected);
}

#[test]
fn a_sequence_despawned_inside_a_step_does_not_disturb_the_others() {
    let mut world = default_world(&fixtures()[0]);
    let vocab = vocab_size(&mut world);
    let (stays, leaves) = (some_prompt(5, vocab), some_prompt(17, vocab));
    let expected = generate(&mut world, &stays, 8);
    let (stays, leaves) = (spawn(&mut world, &stays, 8), spawn(&mut world, &leaves, 8));
    assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::Suspended);
    world.despawn(leaves);
    run(&mut world, Budget::Pieces(1));
    assert_eq!(take(&mut world, stays), expected);
}

#[test]
fn a_world_without_a_model_is_idle() {
    let mut world = bevy_ecs::world::World::new();
    install(&mut world);
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle);
}
