//! A directory → a model on its entity, tensor by tensor beside the frames of an app.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::events::{ModelFailed, ModelLoaded};
use super::task::{LoadTask, Waiter};
use crate::checkpoint::{Checkpoint, CheckpointError, Tensor};
use crate::load::{LoadError, LoadOptions, LoadedModel};
use crate::world::model::ModelState;
use crate::world::parts::ModelParts;
use crate::world::role::{MatrixRole, VectorRole};
use crate::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};

/// Begins to load what is in `directory`.
pub(super) fn begin(directory: PathBuf, options: LoadOptions) -> LoadTask {
    LoadTask::begin(move |waiter| {
        let mut checkpoint = Checkpoint::open(&directory)?;
        checkpoint.check_mtp(options.mtp)?;
        if let Some(tokenizer) = &checkpoint.tokenizer {
            // It makes its tables at its first use, which would hold up a frame for tens of milliseconds.
            _ = tokenizer.encode("a", false);
        }
        let config = checkpoint.config.clone();
        let mut all = Elements(0);
        let shapes = ModelParts::shapes(&config);
        let Ok(_) = if options.mtp { shapes } else { shapes.without_mtp() }.map(&mut all);
        let mut watched = Watched { checkpoint, directory: &directory, waiter, all: all.0, read: 0 };
        let model = LoadedModel::from_tensors(&config, &mut watched, options, |_| {})?;
        Ok(model.with_text_side(watched.checkpoint))
    })
}

/// Says how far models are, and moves those that are loaded into the world.
pub(super) fn receive_models(mut commands: Commands, mut loading: Query<(Entity, &mut LoadTask, &mut ModelState)>) {
    for (entity, mut task, mut state) in &mut loading {
        match task.take() {
            None => _ = state.set_if_neq(ModelState::Loading(task.share())),
            Some(loaded) => commands.queue(move |world: &mut World| receive(world, entity, loaded)),
        }
    }
}

fn receive(world: &mut World, model: Entity, loaded: Result<LoadedModel, LoadError>) {
    // It may have been despawned just now.
    let Ok(mut entity) = world.get_entity_mut(model) else { return };
    entity.remove::<LoadTask>();
    match loaded {
        Ok(loaded) => {
            loaded.insert(world, model);
            world.trigger(ModelLoaded { model });
        }
        Err(error) => {
            entity.insert(ModelState::Failed(in_words(&error)));
            world.trigger(ModelFailed { model, error: Arc::new(error) });
        }
    }
}

/// An error and what is behind it.
fn in_words(error: &LoadError) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.fold(error.to_string(), |words, source| format!("{words}: {source}"))
}

/// Counts what is to be read.
struct Elements(usize);

impl MapTensors<Shapes, Shapes> for Elements {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, matrix: &Shape<MatrixRole>) -> Result<Shape<MatrixRole>, Infallible> {
        self.0 += elements(&matrix.dims);
        Ok(matrix.clone())
    }

    fn vector(&mut self, _: &str, vector: &Shape<VectorRole>) -> Result<Shape<VectorRole>, Infallible> {
        self.0 += elements(&vector.dims);
        Ok(vector.clone())
    }
}

fn elements(dims: &[usize]) -> usize {
    dims.iter().fold(1, |all, &dim| all.saturating_mul(dim))
}

/// Tells of each tensor that it has read, for as long as somebody hears it.
struct Watched<'a> {
    checkpoint: Checkpoint,
    directory: &'a Path,
    waiter: &'a Waiter,
    all: usize,
    read: usize,
}

impl Watched<'_> {
    fn has_read(&mut self, dims: &[usize]) -> Result<(), CheckpointError> {
        self.read += elements(dims);
        if self.waiter.tell(self.read as f32 / self.all as f32) {
            return Ok(());
        }
        let (file, source) = (self.directory.to_owned(), io::ErrorKind::Interrupted.into());
        Err(CheckpointError::Io { file, action: "go on: nobody waits for it any more", source })
    }
}

impl MapTensors<Shapes, Mapped> for Watched<'_> {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, CheckpointError> {
        let tensor = self.checkpoint.matrix(name, matrix)?;
        self.has_read(&matrix.dims)?;
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, CheckpointError> {
        let stored = self.checkpoint.vector(name, vector)?;
        self.has_read(&vector.dims)?;
        Ok(stored)
    }
}
