//! Conversations on a device: what is kept of them there gives what reading them anew would.

use bevy_ecs::prelude::*;
use loquent::gpu::Gpu;
use loquent::prelude::*;
use loquent::world::cache::{Caches, DeltaState};

use crate::device::context;
use crate::models::gpu_world;
use crate::support::{demo, run};

fn speaker(world: &mut World, seed: u64) -> Entity {
    let sampling = Sampling { temperature: 0.9, ..Sampling::default() };
    world.spawn((Conversation::default(), sampling, Seed(seed), StopRules::after(12))).id()
}

fn say(world: &mut World, speakers: &[Entity], text: &str) {
    speakers.iter().for_each(|&speaker| _ = world.entity_mut(speaker).say(text));
    run(world, Budget::Step);
}

fn tokens(world: &World, speaker: Entity) -> Tokens {
    world.get::<Tokens>(speaker).expect("tokens").clone()
}

#[test]
fn a_turn_that_is_told_says_what_reading_all_turns_anew_would() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let [kept, forgets] = [(); 2].map(|()| speaker(&mut world, 3));
    for question in ["Tell me of a cat.", "And then?", "Who was there?"] {
        say(&mut world, &[kept, forgets], question);
        assert_eq!(tokens(&world, kept).generated, tokens(&world, forgets).generated, "{question}");
        world.entity_mut(forgets).despawn_related::<Caches>();
    }
    assert_eq!(tokens(&world, kept).spoken.len(), 2);
}

#[test]
fn a_turn_taken_back_and_asked_again_beside_forks_is_answered_alike() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let village = world.spawn(SystemPrompt("You live by the sea, and know everybody there. ".repeat(4))).id();
    let speakers: Vec<Entity> = (0..3)
        .map(|seed| {
            let sampling = Sampling { temperature: 0.9, ..Sampling::default() };
            world.spawn((ForkOf(village), sampling, Seed(seed), StopRules::after(12))).id()
        })
        .collect();
    say(&mut world, &speakers, "Where is the key?");
    let sampler = world.get::<Sampler>(speakers[0]).expect("a sampler").clone();
    say(&mut world, &speakers, "And then?");
    let expected: Vec<Tokens> = speakers.iter().map(|&speaker| tokens(&world, speaker)).collect();
    say(&mut world, &speakers[..1], "Why do you say so? Tell me all of it.");
    world.entity_mut(speakers[0]).insert(sampler).rewind(1);
    let kept = |world: &mut World| world.query::<&DeltaState<Gpu>>().iter(world).map(|state| state.nearest(70)).max();
    assert!(kept(&mut world) > Some(0), "states are kept on the way");
    say(&mut world, &speakers[..1], "And then?");
    for (&speaker, expected) in speakers.iter().zip(expected) {
        let found = tokens(&world, speaker);
        assert_eq!((found.prompt, found.generated), (expected.prompt, expected.generated));
    }
}
