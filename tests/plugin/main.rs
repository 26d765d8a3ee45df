//! What a Bevy app sees of the plugin: models that load beside its frames, and sequences that speak within them.

mod driving;
mod hearing;
mod loading;
mod reflecting;
mod states;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_ecs::system::RunSystemOnce;
use loquent::prelude::*;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-q4")
}

fn on_cpu() -> LoadOptions {
    LoadOptions::default().backend(Backend::Cpu).threads(2)
}

fn app() -> App {
    let mut app = App::new();
    app.add_plugins(LoquentPlugin::default());
    app
}

/// Asks for a model as a system would.
fn ask_for(app: &mut App, directory: impl Into<PathBuf>) -> Entity {
    let directory = directory.into();
    let asked =
        app.world_mut().run_system_once(move |mut models: Models| models.load_with(directory.clone(), on_cpu()));
    asked.expect("a system")
}

/// Frame after frame, until this is so.
fn update_until(app: &mut App, mut done: impl FnMut(&mut World) -> bool) {
    let started = Instant::now();
    while !done(app.world_mut()) {
        assert!(started.elapsed() < Duration::from_secs(120), "it has not happened in two minutes");
        app.update();
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// An app with the demo, and its model.
fn app_with_demo() -> (App, Entity) {
    let mut app = app();
    let model = ask_for(&mut app, demo());
    update_until(&mut app, |world| state(world, model) == ModelState::Ready);
    (app, model)
}

fn state(world: &World, model: Entity) -> ModelState {
    world.get::<ModelState>(model).expect("a state").clone()
}

fn has_ended(world: &World, sequence: Entity) -> bool {
    world.get::<Finished>(sequence).is_some()
}

fn text(world: &World, sequence: Entity) -> String {
    world.get::<Transcript>(sequence).expect("a transcript").text().to_owned()
}

/// The likeliest story of so many tokens.
fn story(length: usize) -> impl Bundle {
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(length) };
    (Prompt::text("Once upon a time"), Sampler::default(), rules)
}
