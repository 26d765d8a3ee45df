//! What a host does to sequences, whenever it does: it takes effect when the next step begins, and nothing is lost.

use std::time::Duration;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::prelude::*;
use loquent::schedule::{EndStep, LayerPass};
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cache::{Caches, OfSequence};
use loquent::world::cursor::Cursor;
use loquent::world::limits::CacheCost;

use crate::support::{default_world, demo, fixtures, generate, run, some_prompt, spawn, take};

/// Who ended, why, and what had been held back.
#[derive(Resource, Default)]
struct Ends(Vec<(Entity, FinishReason, String)>);

fn listen(world: &mut World) {
    world.init_resource::<Ends>();
    world.add_observer(|finished: On<SequenceFinished>, mut ends: ResMut<Ends>| {
        ends.0.push((finished.sequence, finished.reason.clone(), finished.text.clone()));
    });
}

fn generated(world: &World, sequence: Entity) -> usize {
    world.get::<Tokens>(sequence).map_or(0, |tokens| tokens.generated.len())
}

/// What a sequence has said so far.
fn said(world: &mut World, sequence: Entity) -> String {
    let mut messages = world.resource_mut::<Messages<Spoken>>();
    messages.drain().filter(|spoken| spoken.sequence == sequence).map(|spoken| spoken.text).collect()
}

#[test]
fn what_is_done_to_a_sequence_within_a_step_leaves_the_step_as_it_is() {
    let mut world = default_world(&fixtures()[0]);
    let prompts = [some_prompt(17, 100), some_prompt(5, 100)];
    let expected = prompts.clone().map(|prompt| generate(&mut world, &prompt, 12));
    type Act = fn(&mut EntityWorldMut<'_>);
    let acts: [(&str, Act, Act); 4] = [
        ("disabled", |entity| _ = entity.insert(Disabled), |entity| _ = entity.remove::<Disabled>()),
        (
            "disabled with its caches",
            |entity| _ = entity.insert_recursive::<Caches>(Disabled),
            |entity| _ = entity.remove_recursive::<Caches, Disabled>(),
        ),
        ("paused", |entity| _ = entity.pause(), |entity| _ = entity.resume()),
        ("not marked as running", |entity| _ = entity.remove::<Running>(), |_| {}),
    ];
    for (what, begin, end) in acts {
        for pieces in 0..9 {
            let [first, second] = prompts.clone().map(|prompt| spawn(&mut world, &prompt, 12));
            while generated(&world, first) < 3 {
                advance(&mut world, Budget::Step);
            }
            (0..pieces).for_each(|_| _ = advance(&mut world, Budget::Pieces(1)));
            begin(&mut world.entity_mut(first));
            while *world.resource::<Cursor>() != Cursor::Begin {
                advance(&mut world, Budget::Pieces(1));
            }
            let before = generated(&world, first);
            (0..3).for_each(|_| _ = advance(&mut world, Budget::Step));
            if what != "not marked as running" {
                assert_eq!(generated(&world, first), before, "{what} after {pieces} pieces");
            }
            end(&mut world.entity_mut(first));
            run(&mut world, Budget::Step);
            assert_eq!(take(&mut world, first), expected[0], "{what} after {pieces} pieces");
            assert_eq!(take(&mut world, second), expected[1], "beside one {what} after {pieces} pieces");
        }
    }
}

#[test]
fn a_paused_sequence_is_nothing_to_do_and_goes_on_when_it_is_resumed() {
    let mut world = default_world(&fixtures()[0]);
    let expected = generate(&mut world, &[1, 2, 3], 8);
    let [begun, new] = [(); 2].map(|()| spawn(&mut world, &[1, 2, 3], 8));
    world.entity_mut(new).pause();
    (0..3).for_each(|_| _ = advance(&mut world, Budget::Step));
    world.entity_mut(begun).pause();
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle);
    assert_eq!(generated(&world, new), 0);
    [begun, new].into_iter().for_each(|sequence| _ = world.entity_mut(sequence).resume());
    run(&mut world, Budget::Step);
    assert_eq!([begun, new].map(|sequence| take(&mut world, sequence)), [&expected[..]; 2]);
}

#[test]
fn who_waits_for_others_that_are_paused_is_nothing_to_do_either() {
    let mut world = default_world(&fixtures()[0]);
    world.insert_resource(Limits { running: 1, ..Limits::default() });
    let [first, second] = [(); 2].map(|()| spawn(&mut world, &[1, 2, 3], 8));
    let fork = world.spawn(ForkOf(second)).id();
    advance(&mut world, Budget::Step);
    world.entity_mut(first).pause();
    for _ in 0..3 {
        assert_eq!(advance(&mut world, Budget::Time(Duration::from_secs(1))), Progress::Idle);
    }
    world.entity_mut(first).stop();
    world.entity_mut(fork).stop();
    run(&mut world, Budget::Step);
    let ends = [first, second, fork].map(|sequence| world.get::<Finished>(sequence).expect("an end").0.clone());
    assert_eq!(ends, [FinishReason::Cancelled, FinishReason::Length, FinishReason::Cancelled]);
}

#[test]
fn a_host_ends_a_sequence_for_a_reason_of_its_own_and_hears_what_was_held_back() {
    let mut world = default_world(&demo());
    listen(&mut world);
    let rules = || StopRules {
        end_tokens: Some(Vec::new()),
        stop_texts: vec!["a very unlikely ending".into()],
        ..StopRules::after(200)
    };
    let whole = world.spawn((Prompt::text("Once upon a time"), Sampler::default(), rules())).id();
    run(&mut world, Budget::Step);
    let expected = said(&mut world, whole);
    let held_back = |world: &World, sequence: Entity| {
        world.get::<Transcript>(sequence).is_some_and(|transcript| !transcript.clone().finish().is_empty())
    };
    let reason = FinishReason::Stopped("the door was closed".into());
    for despawned in [false, true] {
        let story = world.spawn((Prompt::text("Once upon a time"), Sampler::default(), rules())).id();
        // Within a step, with a text held back that may become the stop text.
        while !held_back(&world, story) || *world.resource::<Cursor>() == Cursor::Begin {
            assert_ne!(advance(&mut world, Budget::Pieces(1)), Progress::Idle, "something is held back on the way");
        }
        world.resource_mut::<Ends>().0.clear();
        let expected_reason = if despawned {
            world.despawn(story);
            FinishReason::Cancelled
        } else {
            world.entity_mut(story).stop_for(reason.clone());
            reason.clone()
        };
        run(&mut world, Budget::Step);
        let said = said(&mut world, story);
        assert!(expected.starts_with(&said) && !said.is_empty());
        let [(ended, why, text)] = &world.resource::<Ends>().0[..] else { panic!("one end") };
        assert_eq!((*ended, why), (story, &expected_reason));
        assert!(said.ends_with(text.as_str()));
    }
}

/// Leaves nothing to pick, and says why.
fn find_no_way_on(
    mut commands: Commands,
    mut logits: ResMut<Logits<Cpu>>,
    running: Query<(Entity, &Tokens), With<Running>>,
) {
    for (sequence, tokens) in &running {
        if tokens.generated.len() == 3 {
            logits.0.values_mut().fill(f32::NEG_INFINITY);
            commands.entity(sequence).stop_for(FinishReason::Stopped("the grammar ends here".into()));
        }
    }
}

#[test]
fn a_grammar_that_finds_no_way_on_ends_a_sequence_for_its_own_reason() {
    let mut world = default_world(&fixtures()[0]);
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(find_no_way_on.in_set(StepSystems::Constrain));
    });
    let sequence = spawn(&mut world, &[1, 2, 3], 8);
    run(&mut world, Budget::Step);
    let reason = FinishReason::Stopped("the grammar ends here".into());
    assert_eq!(world.get::<Finished>(sequence), Some(&Finished(reason)));
    assert_eq!(generated(&world, sequence), 3);
}

#[test]
fn a_budget_of_time_is_used_up_over_as_many_steps_as_fit() {
    let mut world = default_world(&fixtures()[0]);
    let sequence = spawn(&mut world, &[1, 2, 3], 100);
    assert_eq!(
        advance(&mut world, Budget::Time(Duration::from_secs(60))),
        Progress::StepDone,
        "there is something to hear"
    );
    assert_eq!(generated(&world, sequence), 100);
    assert_eq!(advance(&mut world, Budget::Time(Duration::from_secs(60))), Progress::Idle);
}

/// Makes a layer cost 50 µs for each row.
fn take_time(batch: Res<Batch>) {
    std::thread::sleep(Duration::from_micros(50) * batch.len() as u32);
}

/// How many rows each step had.
#[derive(Resource, Default)]
struct RowsOfSteps(Vec<usize>);

fn note_rows(batch: Res<Batch>, mut rows: ResMut<RowsOfSteps>) {
    rows.0.push(batch.len());
}

#[test]
fn the_rows_of_a_step_follow_the_budget_and_everybody_gets_on() {
    let mut world = default_world(&fixtures()[0]);
    world.init_resource::<RowsOfSteps>();
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(take_time);
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(note_rows);
    });
    let prompts: Vec<Vec<u32>> = (1..40).map(|length| some_prompt(length, 100)).collect();
    let speakers: Vec<Entity> = prompts.iter().map(|prompt| spawn(&mut world, prompt, 10)).collect();
    while advance(&mut world, Budget::Time(Duration::from_millis(2))) != Progress::Idle {}

    let rows = &world.resource::<RowsOfSteps>().0;
    // A millisecond is that of twenty rows, or of fewer where sleeping takes longer than it says. More are tried now and
    // then, at most twice as many as were seen to fit.
    assert!(rows.iter().all(|&rows| rows <= 40), "{rows:?}");
    assert!(rows.iter().filter(|&&rows| rows <= 20).count() > rows.len() / 2, "{rows:?}");
    assert!(rows.iter().any(|&rows| rows > 4), "{rows:?}");
    for (speaker, prompt) in speakers.into_iter().zip(prompts) {
        let tokens = take(&mut world, speaker);
        let mut alone = default_world(&fixtures()[0]);
        assert_eq!(tokens, generate(&mut alone, &prompt, 10));
    }
}

#[test]
fn those_of_higher_priority_are_served_first_and_equals_take_turns() {
    let mut world = default_world(&fixtures()[0]);
    let speakers: Vec<Entity> = (0..6).map(|_| spawn(&mut world, &[1], 30)).collect();
    advance(&mut world, Budget::Step);
    for &important in &speakers[4..] {
        world.entity_mut(important).insert(Priority(1));
    }
    world.insert_resource(Limits { rows: 4, ..Limits::default() });
    let before: Vec<usize> = speakers.iter().map(|&speaker| generated(&world, speaker)).collect();
    (0..8).for_each(|_| _ = advance(&mut world, Budget::Step));
    let gained: Vec<usize> =
        speakers.iter().zip(before).map(|(&speaker, before)| generated(&world, speaker) - before).collect();
    assert_eq!(gained, [4, 4, 4, 4, 8, 8]);
}

#[test]
fn who_must_wait_says_for_what() {
    let mut world = default_world(&fixtures()[0]);
    world.insert_resource(Limits { running: 1, ..Limits::default() });
    let first = spawn(&mut world, &[1, 2, 3], 20);
    let second = spawn(&mut world, &[1, 2, 3], 20);
    let fork = world.spawn(ForkOf(second)).id();
    advance(&mut world, Budget::Step);
    let waits = [first, second, fork].map(|sequence| world.get::<Waits>(sequence).copied());
    assert_eq!(waits, [None, Some(Waits::ForTurn), Some(Waits::ForOriginal(second))]);
    run(&mut world, Budget::Step);
    assert!([first, second, fork].iter().all(|&sequence| world.get::<Waits>(sequence).is_none()));

    let cost = *world.query::<&CacheCost>().single(&world).expect("a model");
    world.insert_resource(Limits { cache_bytes: Some(cost.of(64) + cost.block), ..Limits::default() });
    let [large, other] = [(); 2].map(|()| spawn(&mut world, &some_prompt(33, 100), 20));
    advance(&mut world, Budget::Step);
    assert!(matches!(world.get::<Waits>(other), Some(Waits::ForMemory { needed }) if *needed > cost.fixed));
    assert!(world.get::<Running>(large).is_some());
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, large), take(&mut world, other));
}

#[test]
fn sequences_at_rest_give_up_their_caches_where_others_need_the_room_and_read_again() {
    let mut world = default_world(&demo());
    let speaker = world.spawn((Conversation::default(), StopRules::after(10))).id();
    let expected = world.spawn((Conversation::default(), StopRules::after(10))).id();
    for turn in ["Tell me of a cat.", "And then?"] {
        for sequence in [speaker, expected] {
            world.entity_mut(sequence).say(turn);
        }
        run(&mut world, Budget::Step);
        let limit = Limits { kept_states: 0, ..Limits::default() };
        let cost = *world.query::<&CacheCost>().single(&world).expect("a model");
        // Room for two, and a third comes: the one that came first forgets.
        world.insert_resource(Limits { cache_bytes: Some(cost.of(96) * 2 + cost.block), ..limit });
        let other = world.spawn((Prompt::ids(vec![5; 90]), StopRules::after(1))).id();
        run(&mut world, Budget::Step);
        assert!(world.get::<Finished>(other).is_some_and(|finished| finished.0 == FinishReason::Length));
        let caches = world.get::<Caches>(speaker).map_or(0, |caches| caches.len());
        assert_eq!((caches, world.get::<Tokens>(speaker).expect("tokens").processed), (0, 0));
        world.despawn(other);
        world.insert_resource(Limits::default());
    }
    let generated = |sequence| world.get::<Tokens>(sequence).expect("tokens").generated.clone();
    assert_eq!(generated(speaker), generated(expected));
    world.despawn(speaker);
    world.despawn(expected);
    assert_eq!(world.query::<&OfSequence>().iter(&world).count(), 0);
}

#[test]
fn who_hears_of_an_end_may_despawn_whoever_it_likes() {
    type Act = fn(&mut EntityWorldMut<'_>);
    let acts: [(&str, Act); 4] = [
        ("ends by itself", |_| {}),
        ("stops", |entity| _ = entity.stop()),
        ("is rewound", |entity| _ = entity.rewind(0)),
        ("is given another prompt", |entity| _ = entity.insert((Prompt::ids([3, 4]), Queued))),
    ];
    for (what, act) in acts {
        let mut world = default_world(&fixtures()[0]);
        world.add_observer(|_: On<SequenceFinished>, all: Query<Entity, With<Tokens>>, mut commands: Commands| {
            all.iter().for_each(|sequence| commands.entity(sequence).try_despawn());
        });
        let sequences = [(); 3].map(|()| spawn(&mut world, &some_prompt(5, 100), 3));
        advance(&mut world, Budget::Step);
        sequences.into_iter().for_each(|sequence| act(&mut world.entity_mut(sequence)));
        while advance(&mut world, Budget::Step) != Progress::Idle {}
        assert!(sequences.iter().all(|&sequence| world.get_entity(sequence).is_err()), "{what}");
    }
}
