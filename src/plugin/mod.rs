//! Loquent in a Bevy app: models load in the background, and every frame takes sequences as much further as it may.
//!
//! ```
//! use bevy_app::prelude::*;
//! use bevy_ecs::prelude::*;
//! use loquent::prelude::*;
//!
//! fn main() {
//!     let mut app = App::new();
//!     app.add_plugins(LoquentPlugin { budget: std::time::Duration::from_millis(3), ..Default::default() });
//!     app.add_systems(Startup, settle).add_systems(Update, hear.after(LoquentSystems::Advance));
//!     # for _ in 0..10_000 {
//!     app.update();
//!     # std::thread::sleep(std::time::Duration::from_millis(1));
//!     # if app.world_mut().query::<&Conversation>().iter(app.world()).any(|of| of.messages().len() > 2) { return }
//!     # }
//!     # panic!("nothing was said");
//! }
//!
//! fn settle(mut models: Models, mut commands: Commands) {
//!     let model = models.load("assets/demo-q4");
//!     let village = commands.spawn((SpeaksWith(model), SystemPrompt("You live by the sea.".into()))).id();
//!     let ann = commands.spawn((ForkOf(village), Sampling { temperature: 0.7, ..Default::default() })).id();
//!     # commands.entity(ann).insert(StopRules::after(4));
//!     commands.entity(ann).say("Where is the key?");
//! }
//!
//! fn hear(mut words: MessageReader<Spoken>) {
//!     for word in words.read() {
//!         print!("{}", word.text);
//!     }
//! }
//! ```

mod events;
mod load;
mod models;
mod reflect;
mod task;

use std::time::Duration;

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{InternedScheduleLabel, ScheduleLabel};
use bevy_reflect::Reflect;

pub use events::{ModelFailed, ModelLoaded};
pub use models::Models;

use crate::schedule::{self, Budget};

/// Adds Loquent to an app.
///
/// Messages of what sequences say are there for readers in any system: in the same frame for those that run after
/// [`LoquentSystems::Advance`], in the next one for those before.
pub struct LoquentPlugin {
    /// What a frame may spend on sequences, to begin with: see [`FrameBudget`].
    pub budget: Duration,
    /// The schedule that [`LoquentSystems`] are in: [`Update`] if nothing is said. In one that may run several times a frame,
    /// such as [`FixedUpdate`], each time has the whole budget.
    pub schedule: InternedScheduleLabel,
}

impl Default for LoquentPlugin {
    /// Four milliseconds, a quarter of a frame at 60 Hz, in [`Update`].
    fn default() -> Self {
        Self { budget: Duration::from_millis(4), schedule: Update.intern() }
    }
}

/// What a frame may spend on sequences. Zero still takes a piece of a step each time: to have nothing done for a while, put a
/// run condition on [`LoquentSystems::Advance`].
#[derive(Resource, Clone, Copy, Debug, PartialEq, Eq, Reflect)]
#[reflect(Resource, Clone, Debug, PartialEq)]
pub struct FrameBudget(pub Duration);

/// What the plugin does in a frame, in this order.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoquentSystems {
    /// Looks how far the models are that load, and moves those into the world that are ready.
    Load,
    /// Takes sequences further. Nothing else runs meanwhile.
    Advance,
}

impl Plugin for LoquentPlugin {
    fn build(&self, app: &mut App) {
        schedule::install(app.world_mut());
        reflect::register_types(app);
        app.insert_resource(FrameBudget(self.budget));
        app.configure_sets(self.schedule, (LoquentSystems::Load, LoquentSystems::Advance).chain());
        app.add_systems(
            self.schedule,
            (load::receive_models.in_set(LoquentSystems::Load), advance.in_set(LoquentSystems::Advance)),
        );
    }
}

fn advance(world: &mut World) {
    let FrameBudget(budget) = *world.resource();
    schedule::advance(world, Budget::Time(budget));
}
