//! Rules out what must not be said: a system in `Constrain` sees every complete row of logits before a token is picked.
//! Here, no token may hold the letter e. A graphics card keeps logits to itself, unless a sequence has `HostLogits`.
//!
//! `cargo run --release --example mask`

use bevy_ecs::prelude::*;
use loquent::checkpoint::Tokenizer;
use loquent::prelude::*;
use loquent::schedule::EndStep;
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cursor::Cursor;

/// On a sequence: the tokens it may not use.
#[derive(Component)]
struct Without(Vec<u32>);

fn rule_out(cursor: Res<Cursor>, batch: Res<Batch>, sequences: Query<&Without>, mut logits: ResMut<Logits<Cpu>>) {
    for (index, (span, _)) in cursor.logit_rows(&batch).enumerate() {
        let Ok(Without(ids)) = sequences.get(span.sequence) else { continue };
        let row = logits.0.slice_mut(index..index + 1);
        ids.iter().for_each(|&id| row[id as usize] = f32::NEG_INFINITY);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut world = World::new();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4");
    let model = loquent::load(&mut world, directory, LoadOptions::default())?;
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(rule_out.in_set(StepSystems::Constrain));
    });

    let tokenizer = world.get::<Tokenizer>(model).ok_or("the demo has a tokenizer")?;
    let vocab_size = world.get::<ModelConfig>(model).ok_or("a model has a configuration")?.vocab_size as u32;
    let has_e = |id: &u32| tokenizer.id_to_token(*id).is_some_and(|token| token.contains(['e', 'E']));
    let forbidden = Without((0..vocab_size).filter(has_e).collect());

    let opening = "A cat was";
    let free = world.spawn((Prompt::text(opening), StopRules::after(40))).id();
    let masked = world.spawn((Prompt::text(opening), StopRules::after(40), HostLogits, forbidden)).id();
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    let tokens: Vec<_> = world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
    for (name, speaker) in [("free  ", free), ("masked", masked)] {
        let text: String = tokens.iter().filter(|token| token.sequence == speaker).map(|token| &*token.text).collect();
        println!("{name} {opening}{}", text.replace('\n', " "));
    }
    Ok(())
}
