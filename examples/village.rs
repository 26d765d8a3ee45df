//! Characters who share what they know: it is read once, and each goes on from it. One is interrupted, one is asked again, and
//! one tells two endings of the same story.
//!
//! `cargo run --release --example village`

use bevy_ecs::prelude::*;
use loquent::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut world = World::new();
    loquent::load(&mut world, concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4"), LoadOptions::default())?;
    world.add_observer(|end: On<SequenceFinished>, names: Query<&Name>| {
        let name = names.get(end.sequence).map_or("the village", |name| name.as_str());
        println!("[{name}: {:?}]", end.reason);
    });

    let village = world.spawn(SystemPrompt("You live in a village by the sea.".into())).id();
    let [ann, ben] = ["Ann", "Ben"].map(|name| {
        let sampling = Sampling { temperature: 0.7, ..Sampling::default() };
        world.spawn((Name::new(name), ForkOf(village), sampling, StopRules::after(60))).id()
    });
    world.entity_mut(ann).say("Tell me of a cat.");
    world.entity_mut(ben).say("Tell me of a boat.");
    // Ben is interrupted: what he has said so far stays in his mind.
    while world.get::<Tokens>(ben).is_none_or(|tokens| tokens.generated.len() < 10) {
        advance(&mut world, Budget::Step);
    }
    world.entity_mut(ben).stop().say("No, of a bird!");
    run(&mut world);

    // Two ways on from the same answer.
    let other = world.entity_mut(ann).fork();
    world.entity_mut(other).insert(Name::new("another Ann")).say("And then it rained.");
    world.entity_mut(ann).say("And then?");
    run(&mut world);

    // The last turn is taken back, and something else is asked.
    world.entity_mut(ann).rewind(1).say("Was it red?");
    run(&mut world);
    for speaker in [ann, other, ben] {
        let name = world.get::<Name>(speaker).map_or("?", |name| name.as_str());
        println!("\n{name}");
        for message in world.get::<Conversation>(speaker).ok_or("no conversation")?.messages() {
            println!("  {}: {}", message.role().unwrap_or("?"), message.content().unwrap_or("").trim());
        }
    }
    Ok(())
}

fn run(world: &mut World) {
    while advance(world, Budget::Step) != Progress::Idle {}
}
