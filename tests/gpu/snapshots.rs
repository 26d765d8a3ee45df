//! Sequences that are saved from a device and restored on one, or on the CPU.

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::prelude::*;
use loquent::sampling::Sampling;
use loquent::schedule::EndStep;
use loquent::snapshot::{Contents, Continues, Restored, Snapshot, Why};
use loquent::world::activations::Logits;
use loquent::world::sequence::HostLogits;

use crate::device::context;
use crate::models::gpu_world;
use crate::support::{default_world, demo, fixtures, run, some_prompt, vocab_size};

fn model(world: &mut World) -> Entity {
    world.query_filtered::<Entity, With<ModelConfig>>().single(world).expect("a model")
}

fn tokens(world: &World, sequence: Entity) -> Tokens {
    world.get::<Tokens>(sequence).expect("tokens").clone()
}

fn lively(world: &mut World, length: usize, new: usize) -> Entity {
    let prompt = some_prompt(length, vocab_size(world));
    let sampling = Sampling { temperature: 0.9, ..Sampling::default() };
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
    world.spawn((Prompt::ids(prompt), sampling, Seed(5), rules)).id()
}

/// All logits that came to the host, by their bits.
#[derive(Resource, Default)]
struct Seen(Vec<u32>);

fn see(logits: Res<Logits<Cpu>>, mut seen: ResMut<Seen>) {
    seen.0 = logits.0.row(0).iter().map(|logit| logit.to_bits()).collect();
}

/// The bits of the last logits of a sequence that goes on to its end.
fn last_bits(world: &mut World, sequence: Entity) -> Vec<u32> {
    world.init_resource::<Seen>();
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(see.in_set(StepSystems::Constrain));
    });
    world.entity_mut(sequence).insert(HostLogits);
    run(world, Budget::Step);
    std::mem::take(&mut world.resource_mut::<Seen>().0)
}

#[test]
fn a_sequence_goes_on_from_its_last_row_although_one_more_was_sent_ahead() {
    let Some(context) = context() else { return };
    // Some with delta nets, and one without.
    let fixtures = fixtures();
    for fixture in fixtures[..2].iter().chain(fixtures.last()).chain([&demo()]) {
        for (length, steps) in [(5, 12), (14, 3), (16, 1), (33, 2)] {
            let mut world = gpu_world(fixture, &context);
            let sequence = lively(&mut world, length, 24);
            (0..steps).for_each(|_| _ = advance(&mut world, Budget::Step));
            let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
            assert_eq!(snapshot.contents(), Contents::AsStored);
            let mut other = gpu_world(fixture, &context);
            // Its places are others here.
            let neighbour = lively(&mut other, 40, 3);
            advance(&mut other, Budget::Step);
            let model = model(&mut other);
            let bytes = snapshot.to_bytes();
            let snapshot = Snapshot::from_bytes(&bytes).expect("a snapshot");
            let Restored { sequence: restored, continues } = snapshot.restore(&mut other, model).expect("a sequence");
            assert_eq!(continues, Continues::Equally);
            assert_eq!(tokens(&other, restored).processed, tokens(&world, sequence).processed);
            let again = Snapshot::take(&mut other, restored, Contents::AsStored).expect("a snapshot");
            assert_eq!(again.contents(), Contents::AsStored);
            run(&mut other, Budget::Step);
            other.despawn(neighbour);
            run(&mut world, Budget::Step);
            let [expected, found] = [(&world, sequence), (&other, restored)].map(|(world, of)| tokens(world, of));
            assert_eq!(found, expected, "{} after {length} and {steps}", fixture.display());
        }
    }
}

#[test]
fn logits_after_a_restoration_are_the_same_to_the_last_bit() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let sequence = lively(&mut world, 30, 20);
    (0..5).for_each(|_| _ = advance(&mut world, Budget::Step));
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let expected = last_bits(&mut world, sequence);
    let mut other = gpu_world(&demo(), &context);
    let model = model(&mut other);
    let restored = snapshot.restore(&mut other, model).expect("a sequence");
    assert_eq!(last_bits(&mut other, restored.sequence), expected);
}

#[test]
fn the_original_goes_on_as_if_nobody_had_looked_and_beside_what_is_restored() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let alone = lively(&mut world, 30, 40);
    run(&mut world, Budget::Step);
    let expected = tokens(&world, alone).generated;
    let sequence = lively(&mut world, 30, 40);
    let mut restored = Vec::new();
    let model = model(&mut world);
    for _ in 0..6 {
        (0..5).for_each(|_| _ = advance(&mut world, Budget::Step));
        let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
        // Paused, it stays out of the step that was sent ahead, while buffers grow for it.
        let found = snapshot.restore(&mut world, model).expect("a sequence").sequence;
        world.entity_mut(found).pause();
        restored.push(found);
    }
    run(&mut world, Budget::Step);
    assert_eq!(tokens(&world, sequence).generated, expected);
    for found in restored {
        world.entity_mut(found).resume();
        run(&mut world, Budget::Step);
        assert_eq!(tokens(&world, found).generated, expected);
    }
}

#[test]
fn on_another_backend_tokens_are_read_again() {
    let Some(context) = context() else { return };
    let worlds = || [gpu_world(&demo(), &context), default_world(&demo())];
    for (from, to, saved, here) in [(0, 1, "gpu", "cpu"), (1, 0, "cpu", "gpu")] {
        let mut source = worlds().into_iter().nth(from).expect("a world");
        let sequence = lively(&mut source, 30, 20);
        (0..5).for_each(|_| _ = advance(&mut source, Budget::Step));
        let mut target = worlds().into_iter().nth(to).expect("a world");
        let model = model(&mut target);
        for contents in [Contents::AsStored, Contents::Half, Contents::Tokens] {
            let snapshot = Snapshot::take(&mut source, sequence, contents).expect("a snapshot");
            let restored = snapshot.restore(&mut target, model).expect("the same model");
            let why = match contents {
                Contents::Tokens => Why::TokensOnly,
                _ => Why::OtherBackend { saved, here },
            };
            assert_eq!(restored.continues, Continues::ReadAgain { why });
            run(&mut target, Budget::Step);
            assert_eq!(tokens(&target, restored.sequence).generated.len(), 20);
        }
    }
}

#[test]
fn half_precision_and_tokens_go_on_as_well() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let sequence = lively(&mut world, 30, 20);
    (0..5).for_each(|_| _ = advance(&mut world, Budget::Step));
    let model = model(&mut world);
    for contents in [Contents::Half, Contents::Tokens] {
        let snapshot = Snapshot::take(&mut world, sequence, contents).expect("a snapshot");
        let restored = snapshot.restore(&mut world, model).expect("a sequence");
        let expected = match contents {
            Contents::Half => Continues::Nearly { why: Why::Rounded },
            _ => Continues::ReadAgain { why: Why::TokensOnly },
        };
        assert_eq!(restored.continues, expected);
        run(&mut world, Budget::Step);
        assert_eq!(tokens(&world, restored.sequence).generated.len(), 20);
    }
}
