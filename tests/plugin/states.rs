//! Models on their way, whoever brings them: no plugin is needed for a sequence to wait.

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::refusal::Refusal;

use crate::{demo, on_cpu, story};

#[test]
fn a_world_in_which_all_wait_for_a_model_is_idle_until_it_is_there() {
    let mut world = World::new();
    let there = load(&mut world, demo(), on_cpu()).expect("the demo");
    let coming = world.spawn(ModelState::Loading(0.0)).id();
    let story = world.spawn((SpeaksWith(coming), story(8))).id();
    let told = world.spawn((SpeaksWith(coming), Conversation::default(), StopRules::after(8))).id();
    world.entity_mut(told).say("Where is the key?");
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle, "another model is of no use to them");
    assert_eq!([story, told].map(|sequence| world.get(sequence).copied()), [Some(Waits::ForModel); 2]);

    LoadedModel::open(demo(), on_cpu()).expect("the demo").insert(&mut world, coming);
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    assert_eq!(world.get(story), Some(&Finished(FinishReason::Length)));
    assert!(world.get::<Finished>(told).is_some() && world.get::<Waits>(told).is_none());
    assert_eq!(world.get(there), Some(&ModelState::Ready));
}

#[test]
fn a_second_prompt_for_a_model_that_is_still_to_come_waits_for_it() {
    let mut world = World::new();
    let first = load(&mut world, demo(), on_cpu()).expect("the demo");
    let sequence = world.spawn((SpeaksWith(first), story(8))).id();
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    let alone = world.get::<Tokens>(sequence).expect("tokens").clone();

    let second = world.spawn(ModelState::Loading(0.0)).id();
    world.entity_mut(sequence).insert((SpeaksWith(second), Prompt::text("Once upon a time")));
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle);
    assert_eq!(world.get(sequence), Some(&Waits::ForModel));
    LoadedModel::open(demo(), on_cpu()).expect("the demo").insert(&mut world, second);
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    assert_eq!(world.get(sequence), Some(&Finished(FinishReason::Length)));
    assert_eq!(world.get::<Tokens>(sequence).expect("tokens").generated, alone.generated);

    world.entity_mut(second).insert(ModelState::Failed("on purpose".into()));
    world.entity_mut(sequence).insert(Prompt::text("One day"));
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    let refusal = Refusal::ModelFailed { model: second, reason: "on purpose".into() };
    assert_eq!(world.get(sequence), Some(&Finished(FinishReason::Refused(refusal))));
}
