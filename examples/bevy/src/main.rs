//! A village in a Bevy app without a window: four characters speak at 60 frames a second, and no frame gives them more than
//! three milliseconds.
//!
//! `cargo run --release [DIRECTORY]`

mod frames;
mod saving;
mod village;

use std::path::PathBuf;
use std::time::Duration;

use bevy_app::prelude::*;
use bevy_app::{ScheduleRunnerPlugin, TaskPoolPlugin};
use bevy_log::LogPlugin;
use loquent::prelude::*;

/// What a frame may spend on language.
const BUDGET: Duration = Duration::from_millis(3);

fn main() -> AppExit {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo-q4");
    let model = PathBuf::from(std::env::args_os().nth(1).unwrap_or(demo.into()));
    App::new()
        .add_plugins((
            TaskPoolPlugin::default(),
            LogPlugin::default(),
            ScheduleRunnerPlugin::run_loop(Duration::from_secs(1) / 60),
            LoquentPlugin { budget: BUDGET, ..Default::default() },
        ))
        .add_plugins((frames::plugin, saving::plugin, village::plugin(model)))
        .run()
}
