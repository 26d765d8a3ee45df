//! A conversation: every line of input is answered with all turns before it in mind. They stay in the caches, and the model
//! reads no more than what is new.
//!
//! `printf 'Tell me of a cat.\nAnd then?\n' | cargo run --release --example chat [DIRECTORY]`

use std::io::{BufRead, Write};

use bevy_ecs::prelude::*;
use loquent::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4");
    let directory = std::env::args().nth(1).unwrap_or(demo.to_owned());
    let mut world = World::new();
    loquent::load(&mut world, directory, LoadOptions::default())?;

    // In a chat, the token with which the template ends a turn ends the answer.
    let speaker = world.spawn((Conversation::default(), Forgetful::default(), StopRules::after(200))).id();
    for line in std::io::stdin().lock().lines() {
        world.entity_mut(speaker).say(line?);
        while advance(&mut world, Budget::Step) != Progress::Idle {
            for Spoken { text, .. } in world.resource_mut::<Messages<Spoken>>().drain() {
                print!("{text}");
                std::io::stdout().flush()?;
            }
        }
        println!();
        if let Some(Finished(FinishReason::Refused(refusal))) = world.get(speaker) {
            return Err(refusal.clone().into());
        }
    }
    Ok(())
}
