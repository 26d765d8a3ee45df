//! A story that is put aside in the middle and goes on in another world, as if nothing had been.
//!
//! `cargo run --release --example save [DIRECTORY]`

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4");
    let directory = std::env::args().nth(1).unwrap_or(demo.to_owned());
    let file = std::env::temp_dir().join("story.snapshot");

    let mut world = World::new();
    loquent::load(&mut world, &directory, LoadOptions::default())?;
    let story = world.spawn((Prompt::text("Once upon a time"), StopRules::after(60))).id();
    while text(&world, story).len() < 80 && advance(&mut world, Budget::Step) != Progress::Idle {}
    println!("{} …", text(&world, story));
    Snapshot::take(&mut world, story, Contents::AsStored)?.save(&file)?;
    drop(world);

    // Another day.
    let mut world = World::new();
    let model = loquent::load(&mut world, &directory, LoadOptions::default())?;
    let story = Snapshot::open(&file)?.restore(&mut world, model)?;
    println!("({} bytes in {}; goes on: {:?})", file.metadata()?.len(), file.display(), story.continues);
    let told = text(&world, story.sequence).len();
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    println!("… {}", &text(&world, story.sequence)[told..]);
    std::fs::remove_file(file)?;
    Ok(())
}

/// What it has said so far.
fn text(world: &World, story: Entity) -> &str {
    world.get::<Transcript>(story).map_or("", Transcript::text)
}
