//! What a sequence gets does not depend on how its prompt was cut, on what shared the batch, or on the threads.

use bevy_ecs::entity::EntityCloner;
use bevy_ecs::prelude::*;
use loquent::cpu::{Cpu, Isa, Numerics};
use loquent::prelude::*;
use loquent::schedule::EndStep;
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cache::{Caches, DeltaState, KvCache, OfSequence};
use loquent::world::cursor::Cursor;
use loquent::world::layer::LayerIndex;
use loquent::world::sequence::LogitsFrom;

use crate::support::{default_world, fixtures, generate, logits, run, some_prompt, spawn, take, vocab_size, world};

/// The same bits, not merely close.
fn assert_same(left: &[f32], right: &[f32], what: &str) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(left) == bits(right), "{what}: logits differ");
}

#[test]
fn a_prompt_read_whole_in_chunks_or_token_by_token_gives_the_same_logits() {
    for checkpoint in fixtures() {
        let mut world = default_world(&checkpoint);
        let prompt = some_prompt(129, vocab_size(&mut world));
        let whole = logits(&mut world, &prompt, Budget::Step);
        // Beside multiples of the 16 positions that delta nets and attention may take together.
        for chunk in [128, 127, 65, 64, 63, 17, 16, 15, 7, 1] {
            world.insert_resource(Limits { rows: chunk, ..Limits::default() });
            let cut = logits(&mut world, &prompt, Budget::Step);
            assert_same(&whole, &cut, &format!("{} in chunks of {chunk}", checkpoint.display()));
        }
    }
}

#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    for checkpoint in fixtures() {
        let mut world = default_world(&checkpoint);
        let vocab = vocab_size(&mut world);
        let prompts: Vec<Vec<u32>> = [1, 5, 17, 70].map(|length| some_prompt(length, vocab)).into();
        let alone: Vec<_> = prompts.iter().map(|prompt| generate(&mut world, prompt, 12)).collect();
        world.insert_resource(Limits { rows: 9, ..Limits::default() });
        let sequences: Vec<_> = prompts.iter().map(|prompt| spawn(&mut world, prompt, 12)).collect();
        run(&mut world, Budget::Step);
        for (sequence, alone) in sequences.into_iter().zip(alone) {
            assert_eq!(take(&mut world, sequence), alone, "{}", checkpoint.display());
        }
    }
}

#[test]
fn a_sequence_that_joins_late_changes_nothing_for_the_others() {
    let checkpoint = &fixtures()[0];
    let mut world = default_world(checkpoint);
    let vocab = vocab_size(&mut world);
    let (first, second) = (some_prompt(17, vocab), some_prompt(5, vocab));
    let alone = [generate(&mut world, &first, 20), generate(&mut world, &second, 20)];
    let early = spawn(&mut world, &first, 20);
    for _ in 0..6 {
        assert_eq!(advance(&mut world, Budget::Step), Progress::StepDone);
    }
    let late = spawn(&mut world, &second, 20);
    run(&mut world, Budget::Step);
    assert_eq!([take(&mut world, early), take(&mut world, late)], alone);
}

#[test]
fn any_number_of_threads_gives_the_same_logits() {
    for checkpoint in fixtures() {
        let mut one = world(&checkpoint, 1, Isa::widest(), Numerics::Fast);
        let prompt = some_prompt(70, vocab_size(&mut one));
        let expected = logits(&mut one, &prompt, Budget::Step);
        for threads in [2, 3, 7] {
            let mut many = world(&checkpoint, threads, Isa::widest(), Numerics::Fast);
            let found = logits(&mut many, &prompt, Budget::Step);
            assert_same(&expected, &found, &format!("{} on {threads} threads", checkpoint.display()));
        }
    }
}

/// A greedy sequence that has taken eight steps.
fn begin(world: &mut World, prompt: &[u32], new: usize) -> Entity {
    let sequence = spawn(world, prompt, new);
    for _ in 0..8 {
        advance(world, Budget::Step);
    }
    sequence
}

#[test]
fn clones_go_on_as_the_original_would_beside_it_or_after_it() {
    let mut world = default_world(&fixtures()[0]);
    let prompt = some_prompt(17, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 20);
    let original = begin(&mut world, &prompt, 20);
    let [beside, after] = [(); 2].map(|()| {
        let fork = world.spawn_empty().id();
        EntityCloner::build_opt_out(&mut world).linked_cloning(true).clone_entity(original, fork);
        fork
    });
    let caches = |world: &World, sequence| world.get::<Caches>(sequence).expect("caches").of_layer(0);
    assert_ne!(caches(&world, original), caches(&world, beside), "a fork has caches of its own");
    world.entity_mut(after).pause();
    run(&mut world, Budget::Step);
    let caches = world.query::<&OfSequence>().iter(&world).count();
    assert_eq!(caches, 3 * world.query::<&LayerIndex>().iter(&world).count(), "one for each layer and sequence");
    assert_eq!(take(&mut world, original), expected);
    assert_eq!(take(&mut world, beside), expected);
    world.entity_mut(after).resume();
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, after), expected);
}

#[test]
fn a_clone_without_its_caches_reads_again() {
    let mut world = default_world(&fixtures()[0]);
    let prompt = some_prompt(17, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 20);
    let original = begin(&mut world, &prompt, 20);
    let fork = world.entity_mut(original).clone_and_spawn();
    assert!(world.get::<Caches>(fork).is_none_or(RelationshipTarget::is_empty));
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, original), expected);
    assert_eq!(take(&mut world, fork), expected);
}

#[test]
fn forks_that_draw_otherwise_do_not_disturb_each_other() {
    let draw = |seed| Sampler::new(Sampling { temperature: 4.0, ..Sampling::default() }, seed).expect("settings");
    for prompt_tokens in [5, 32, 45] {
        let mut world = default_world(&fixtures()[0]);
        let prompt = some_prompt(prompt_tokens, vocab_size(&mut world));
        // What each makes alone, beginning to draw after the same eight tokens.
        let alone = [1, 2].map(|seed| {
            let sequence = begin(&mut world, &prompt, 60);
            world.entity_mut(sequence).insert(draw(seed));
            run(&mut world, Budget::Step);
            take(&mut world, sequence)
        });
        assert_ne!(alone[0], alone[1]);
        let original = begin(&mut world, &prompt, 60);
        let fork = world.spawn_empty().id();
        EntityCloner::build_opt_out(&mut world).linked_cloning(true).clone_entity(original, fork);
        world.entity_mut(original).insert(draw(1));
        world.entity_mut(fork).insert(draw(2));
        run(&mut world, Budget::Step);
        assert_eq!([original, fork].map(|sequence| take(&mut world, sequence)), alone, "{prompt_tokens}");
    }
}

#[test]
fn despawning_a_sequence_frees_its_caches() {
    let mut world = default_world(&fixtures()[0]);
    let prompt = some_prompt(5, vocab_size(&mut world));
    let sequence = spawn(&mut world, &prompt, 20);
    advance(&mut world, Budget::Step);
    let count = |world: &mut World| {
        world.query_filtered::<(), Or<(With<KvCache<Cpu>>, With<DeltaState<Cpu>>)>>().iter(world).count()
    };
    assert!(count(&mut world) > 0);
    world.despawn(sequence);
    assert_eq!(count(&mut world), 0);
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle);
}

#[test]
fn more_sequences_than_a_group_of_logits_holds_get_what_they_get_alone() {
    let mut world = default_world(&fixtures()[0]);
    let vocab = vocab_size(&mut world);
    let prompts: Vec<Vec<u32>> = (1..=70).map(|length| some_prompt(length % 9 + 1, vocab)).collect();
    let alone: Vec<_> = prompts.iter().map(|prompt| generate(&mut world, prompt, 3)).collect();
    for budget in [Budget::Step, Budget::Pieces(1)] {
        world.insert_resource(Limits { rows: 1000, ..Limits::default() });
        let sequences: Vec<_> = prompts.iter().map(|prompt| spawn(&mut world, prompt, 3)).collect();
        run(&mut world, budget);
        for (sequence, alone) in sequences.into_iter().zip(&alone) {
            assert_eq!(&take(&mut world, sequence), alone);
        }
    }
}

/// The rows of logits that were computed, with their positions.
#[derive(Resource, Default)]
struct Seen(Vec<(u32, Vec<f32>)>);

fn note(cursor: Res<Cursor>, batch: Res<Batch>, logits: Res<Logits<Cpu>>, mut seen: ResMut<Seen>) {
    for (index, (_, row)) in cursor.logit_rows(&batch).enumerate() {
        seen.0.push((batch.positions[row], logits.0.row(index).to_vec()));
    }
}

#[test]
fn logits_from_within_a_prompt_are_those_after_its_beginnings() {
    for checkpoint in fixtures() {
        let mut world = default_world(&checkpoint);
        let prompt = some_prompt(90, vocab_size(&mut world));
        let expected: Vec<_> = (10..90).map(|last| logits(&mut world, &prompt[..=last], Budget::Step)).collect();
        let tokens = generate(&mut world, &prompt, 3);
        world.init_resource::<Seen>();
        world.schedule_scope(EndStep, |_, schedule| {
            schedule.add_systems(note.in_set(StepSystems::Sample));
        });
        for (rows, budget) in [(256, Budget::Step), (256, Budget::Pieces(1)), (33, Budget::Pieces(2))] {
            world.insert_resource(Limits { rows, ..Limits::default() });
            let sequence = spawn(&mut world, &prompt, 3);
            world.entity_mut(sequence).insert(LogitsFrom(10));
            run(&mut world, budget);
            assert_eq!(take(&mut world, sequence), tokens, "what is picked stays the same");
            let seen = std::mem::take(&mut world.resource_mut::<Seen>().0);
            let positions: Vec<u32> = seen.iter().map(|&(position, _)| position).collect();
            assert_eq!(positions, (10..92).collect::<Vec<_>>(), "of the prompt, then of what it continued");
            for ((position, found), expected) in seen.iter().zip(&expected) {
                assert_same(found, expected, &format!("{} at {position}", checkpoint.display()));
            }
        }
    }
}
