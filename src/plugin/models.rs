//! What an app asks to load.

use std::path::PathBuf;

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::load;
use crate::load::LoadOptions;
use crate::world::model::ModelState;

/// Loads models in the background.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// fn begin(mut models: Models, mut commands: Commands) {
///     let model = models.load("assets/demo-q4");
///     // It waits until the model is there, and is refused if there is none.
///     commands.spawn((SpeaksWith(model), Prompt::text("Once upon a time")));
/// }
///
/// fn show(models: Query<&ModelState, Changed<ModelState>>) {
///     for state in &models {
///         match state {
///             ModelState::Loading(share) => println!("{:.0} %", 100.0 * share),
///             ModelState::Ready => println!("ready"),
///             ModelState::Failed(reason) => eprintln!("{reason}"),
///         }
///     }
/// }
/// # let mut app = bevy_app::App::new();
/// # app.add_systems(bevy_app::Update, (begin, show));
/// # app.update();
/// ```
#[derive(SystemParam)]
pub struct Models<'w, 's> {
    commands: Commands<'w, 's>,
}

impl Models<'_, '_> {
    /// Begins to load the model in `directory`, in Hugging Face form or converted; a relative path begins where the program
    /// was started. The entity that is returned is the model from now on: [`SpeaksWith`](crate::prelude::SpeaksWith) may name
    /// it, its [`ModelState`] says how far it is, and in the end [`ModelLoaded`](super::ModelLoaded) or [`ModelFailed`](super::ModelFailed) is triggered on it. To
    /// despawn it while it loads gives it up.
    pub fn load(&mut self, directory: impl Into<PathBuf>) -> Entity {
        self.load_with(directory, LoadOptions::default())
    }

    /// As [`load`](Self::load), with `options`.
    pub fn load_with(&mut self, directory: impl Into<PathBuf>, options: LoadOptions) -> Entity {
        self.commands.spawn((ModelState::Loading(0.0), load::begin(directory.into(), options))).id()
    }
}
