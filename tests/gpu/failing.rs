//! Devices that are too small, full or lost: what was asked for is named, and the world stays usable.

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::model::Unavailable;
use loquent::{LoadedModel, ReviveError};

use crate::device::{context, open};
use crate::models::{generate, gpu_world, logits};
use crate::support::{demo, fixtures, run, some_prompt, spawn, take, vocab_size};

#[test]
fn bindings_far_below_those_of_any_device_change_nothing() {
    if context().is_none() {
        return;
    }
    for checkpoint in fixtures().into_iter().chain([demo()]) {
        let mut large = gpu_world(&checkpoint, &context().unwrap());
        let vocab_size = vocab_size(&mut large);
        let prompt = some_prompt(40, vocab_size);
        let expected = logits(&mut large, &prompt);
        let tokens = generate(&mut large, &prompt, 20);
        // As little as the logits of a step leave.
        for kib in [3072, (256 * vocab_size.next_multiple_of(32) as u64).div_ceil(1024).max(300)] {
            let lower = |limits: &mut wgpu::Limits| limits.max_storage_buffer_binding_size = kib << 10;
            let mut world = gpu_world(&checkpoint, &open(lower).unwrap());
            assert_eq!(logits(&mut world, &prompt), expected, "{} in {kib} KiB", checkpoint.display());
            assert_eq!(generate(&mut world, &prompt, 20), tokens, "{} in {kib} KiB", checkpoint.display());
        }
    }
}

#[test]
fn a_model_that_does_not_fit_the_bindings_is_refused_by_name() {
    if context().is_none() {
        return;
    }
    let tiny = open(|limits| limits.max_storage_buffer_binding_size = 1024).unwrap();
    let mut world = World::new();
    let error = load(&mut world, demo(), LoadOptions::default().device(tiny)).unwrap_err().to_string();
    assert!(error.contains("expected at most 1024, the largest binding of the device"), "{error}");
    assert!(world.query::<&ModelConfig>().iter(&world).next().is_none());
}

#[test]
fn no_memory_is_an_error_that_says_what_it_was_for() {
    let Some(context) = context() else { return };
    let mut world = World::new();
    let options = LoadOptions::default().device(context.out_of_memory_after(3));
    let error = load(&mut world, demo(), options).unwrap_err().to_string();
    assert!(error.contains("no memory on") && error.contains("bytes were asked for"), "{error}");
    assert!(world.query::<&ModelConfig>().iter(&world).next().is_none());
}

#[test]
fn a_step_without_memory_keeps_the_text_and_the_sequence_goes_on_elsewhere() {
    let Some(context) = context() else { return };
    let counted = context.out_of_memory_after(u64::MAX);
    let mut whole = gpu_world(&demo(), &counted);
    let loaded = counted.made();
    let prompt = some_prompt(20, vocab_size(&mut whole));
    let expected = generate(&mut whole, &prompt, 60);
    let needed = counted.made();
    // At the first buffer of a step, and where the caches outgrow what they began with.
    for made in [loaded, loaded + (needed - loaded) / 2, needed - 1] {
        let mut world = gpu_world(&demo(), &context.out_of_memory_after(made));
        let model = world.query_filtered::<Entity, With<ModelConfig>>().single(&world).unwrap();
        let sequence = spawn(&mut world, &prompt, 60);
        run(&mut world, Budget::Step);
        if world.get::<Finished>(sequence).is_none() {
            let reason = &world.get::<Unavailable>(model).expect("the model says so").0;
            assert!(reason.contains("no memory on"), "{reason}");
            assert!(expected.starts_with(&world.get::<Tokens>(sequence).unwrap().generated));
            let cpu = LoadOptions::default().threads(1).backend(Backend::Cpu);
            LoadedModel::open(demo(), cpu).unwrap().revive(&mut world, model).unwrap();
            run(&mut world, Budget::Step);
        } else {
            assert_ne!(made, loaded, "a first step needs buffers");
        }
        assert_eq!(take(&mut world, sequence), expected, "after {made}");
    }
}

/// A world in which a sequence was half way when its device was lost.
fn lost_world(prompt: &[u32], budget: Budget) -> (World, Entity, Entity) {
    let device = open(|_| {}).unwrap();
    let mut world = gpu_world(&demo(), &device);
    let model = world.query_filtered::<Entity, With<ModelConfig>>().single(&world).unwrap();
    let sequence = spawn(&mut world, prompt, 40);
    while world.get::<Tokens>(sequence).is_none_or(|tokens| tokens.generated.len() < 12) {
        advance(&mut world, budget);
    }
    device.device().destroy();
    let mut calls = 0;
    while advance(&mut world, budget) != Progress::Idle {
        calls += 1;
        assert!(calls < 200, "the world goes on as if nothing had happened");
    }
    (world, model, sequence)
}

#[test]
fn a_lost_device_keeps_the_text_and_the_sequence_goes_on_elsewhere() {
    let Some(context) = context() else { return };
    let mut whole = gpu_world(&demo(), &context);
    let prompt = some_prompt(30, vocab_size(&mut whole));
    let expected = generate(&mut whole, &prompt, 40);
    for (budget, on_gpu) in [(Budget::Step, true), (Budget::Step, false), (Budget::Pieces(2), true)] {
        let (mut world, model, sequence) = lost_world(&prompt, budget);
        let reason = &world.get::<Unavailable>(model).expect("the model says so").0;
        assert!(reason.contains("lost") || reason.contains("refuses"), "{reason}");
        let so_far = world.get::<Tokens>(sequence).unwrap().generated.clone();
        assert!(so_far.len() >= 12 && expected.starts_with(&so_far));
        let options = LoadOptions::default().threads(1);
        let options = if on_gpu { options.device(context.clone()) } else { options };
        LoadedModel::open(demo(), options).unwrap().revive(&mut world, model).unwrap();
        run(&mut world, budget);
        assert_eq!(take(&mut world, sequence), expected, "{budget:?}, on a device: {on_gpu}");
    }
}

#[test]
fn a_model_is_revived_in_the_middle_of_anything_by_its_like_alone() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let model = world.query_filtered::<Entity, With<ModelConfig>>().single(&world).unwrap();
    let prompt = some_prompt(30, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 30);
    let sequence = spawn(&mut world, &prompt, 30);
    for calls in 0..12 {
        for _ in 0..7 * calls {
            advance(&mut world, Budget::Pieces(1));
        }
        let options = LoadOptions::default().threads(1);
        let options = if calls % 2 == 0 { options } else { options.device(context.clone()) };
        LoadedModel::open(demo(), options).unwrap().revive(&mut world, model).unwrap();
    }
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, sequence), expected);
    let other = LoadedModel::open(&fixtures()[0], LoadOptions::default().threads(1)).unwrap();
    assert_eq!(other.revive(&mut world, model), Err(ReviveError::OtherModel));
    let other = LoadedModel::open(demo(), LoadOptions::default().threads(1)).unwrap();
    assert_eq!(other.revive(&mut world, sequence), Err(ReviveError::NoModel(sequence)));
}

#[test]
fn more_sequences_than_there_is_room_for_take_turns_and_say_the_same() {
    let Some(context) = context() else { return };
    let mut whole = gpu_world(&demo(), &context);
    let vocab_size = vocab_size(&mut whole);
    let prompts: Vec<_> = (0..45).map(|index| some_prompt(3 + index, vocab_size)).collect();
    let expected: Vec<_> = prompts.iter().map(|prompt| generate(&mut whole, prompt, 4)).collect();
    let small = open(|limits| limits.max_storage_buffer_binding_size = 2560 << 10).unwrap();
    let mut world = gpu_world(&demo(), &small);
    let sequences: Vec<_> = prompts.iter().map(|prompt| spawn(&mut world, prompt, 4)).collect();
    let mut waited = false;
    while advance(&mut world, Budget::Step) != Progress::Idle {
        let waiting = world.query_filtered::<(), With<Queued>>().iter(&world).count();
        waited |= waiting > 0;
    }
    let unavailable: Vec<_> = world.query::<&Unavailable>().iter(&world).collect();
    assert!(unavailable.is_empty(), "{unavailable:?}");
    assert!(waited, "there is no room for all of them at once");
    let found: Vec<_> = sequences.into_iter().map(|sequence| take(&mut world, sequence)).collect();
    assert_eq!(found, expected);
}
