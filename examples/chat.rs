//! A conversation: every line of input is answered with all turns before it in mind. The model reads them anew each time.
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

    let mut turns: Vec<ChatMessage> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        turns.push(ChatMessage::new("user", line?));
        let answer = answer(&mut world, &turns)?;
        turns.push(ChatMessage::new("assistant", answer));
    }
    Ok(())
}

/// What the model says next, printed as it is made.
fn answer(world: &mut World, turns: &[ChatMessage]) -> Result<String, Box<dyn std::error::Error>> {
    // In a chat, the token with which the template ends a turn ends the answer.
    let speaker = world.spawn((Prompt::chat(turns), StopRules::after(200))).id();
    let mut text = String::new();
    while advance(world, Budget::Step) != Progress::Idle {
        for token in world.resource_mut::<Messages<TokenGenerated>>().drain() {
            print!("{}", token.text);
            std::io::stdout().flush()?;
            text += &token.text;
        }
    }
    println!();
    let Some(Finished(reason)) = world.get(speaker).cloned() else { return Err("the answer has not ended".into()) };
    world.despawn(speaker);
    match reason {
        FinishReason::Refused(refusal) => Err(refusal.into()),
        _ => Ok(text),
    }
}
