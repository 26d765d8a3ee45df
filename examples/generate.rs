//! The first program: a story, printed as it is made.
//!
//! `cargo run --release --example generate "The little dog"`

use std::io::Write;

use bevy_ecs::prelude::*;
use loquent::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let opening = std::env::args().nth(1).unwrap_or("Once upon a time".to_owned());
    let mut world = World::new();
    loquent::load(&mut world, concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4"), LoadOptions::default())?;

    print!("{opening}");
    // How tokens are picked, what ends the text and when to stop are the model's, unless they stand beside the prompt.
    let story = world.spawn((Prompt::text(opening), StopRules::after(200))).id();
    while advance(&mut world, Budget::Step) != Progress::Idle {
        for token in world.resource_mut::<Messages<TokenGenerated>>().drain() {
            print!("{}", token.text);
        }
        std::io::stdout().flush()?;
    }
    let Finished(reason) = world.get(story).ok_or("the story has not ended")?;
    println!("\n({reason:?})");
    Ok(())
}
