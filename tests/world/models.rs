//! A world may hold several models.

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::batch::Batch;
use loquent::world::cache::OfSequence;
use loquent::world::refusal::Refusal;

use crate::support::{fixtures, generate, run, some_prompt, spawn};

/// A world with two models, and what each makes of a prompt when it is alone.
fn two_models() -> (World, [Entity; 2], [Vec<u32>; 2]) {
    let prompt = some_prompt(9, 100);
    let alone = [0, 1].map(|index| {
        let mut world = World::new();
        load(&mut world, &fixtures()[index], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
        generate(&mut world, &prompt, 8)
    });
    assert_ne!(alone[0], alone[1], "two fixtures that differ");
    let mut world = World::new();
    let models = [0, 1].map(|index| {
        load(&mut world, &fixtures()[index], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture")
    });
    (world, models, alone)
}

fn spawn_on(world: &mut World, model: Entity, new: usize) -> Entity {
    let sequence = spawn(world, &some_prompt(9, 100), new);
    world.entity_mut(sequence).insert(SpeaksWith(model));
    sequence
}

fn generated(world: &World, sequence: Entity) -> &[u32] {
    &world.get::<Tokens>(sequence).expect("tokens").generated
}

#[test]
fn models_take_turns_and_each_computes_what_it_computes_alone() {
    let (mut world, models, alone) = two_models();
    for budget in [Budget::Step, Budget::Pieces(1)] {
        let sequences = models.map(|model| spawn_on(&mut world, model, 8));
        run(&mut world, budget);
        for (sequence, alone) in sequences.into_iter().zip(&alone) {
            assert_eq!(generated(&world, sequence), alone, "{budget:?}");
        }
    }
}

#[test]
fn no_model_waits_while_another_speaks() {
    let (mut world, models, _) = two_models();
    let sequences = models.map(|model| spawn_on(&mut world, model, 8));
    for step in 0..12 {
        assert_eq!(advance(&mut world, Budget::Step), Progress::StepDone);
        let lengths = sequences.map(|sequence| generated(&world, sequence).len());
        assert!(lengths[0].abs_diff(lengths[1]) <= 1, "{lengths:?} after {} steps", step + 1);
        assert_eq!(world.resource::<Batch>().spans.len(), 1);
    }
}

#[test]
fn with_several_models_a_sequence_that_names_none_is_refused() {
    let (mut world, ..) = two_models();
    let nameless = spawn(&mut world, &[1, 2], 2);
    let stranger = world.spawn_empty().id();
    let mistaken = spawn_on(&mut world, stranger, 2);
    run(&mut world, Budget::Step);
    let refused = |refusal| Some(Finished(FinishReason::Refused(refusal)));
    assert_eq!(world.get(nameless).cloned(), refused(Refusal::ModelNotNamed { models: 2 }));
    assert_eq!(world.get(mistaken).cloned(), refused(Refusal::NoSuchModel(stranger)));
}

#[test]
fn a_model_despawned_while_it_speaks_ends_its_sequences_and_no_others() {
    for pieces in 1..12 {
        let (mut world, models, alone) = two_models();
        let [lost, stays] = models.map(|model| spawn_on(&mut world, model, 8));
        for _ in 0..pieces {
            advance(&mut world, Budget::Pieces(1));
        }
        world.despawn(models[0]);
        run(&mut world, Budget::Pieces(1));
        assert_eq!(world.get(lost), Some(&Finished(FinishReason::ModelDespawned)), "after {pieces} pieces");
        assert_eq!(generated(&world, stays), alone[1], "after {pieces} pieces");
        world.despawn(stays);
        world.despawn(lost);
        assert_eq!(world.query::<&OfSequence>().iter(&world).count(), 0, "caches are gone");
    }
}

#[test]
fn a_model_that_replaces_another_is_the_only_one() {
    let (mut world, [first, _], alone) = two_models();
    world.despawn(first);
    assert_eq!(generate(&mut world, &some_prompt(9, 100), 8), alone[1]);
}
