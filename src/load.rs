//! The front door: a directory → checked tensors → the form that a backend's kernels read → a model in the world.
//!
//! The slow half, [`LoadedModel::open`], needs no world: a host may run it on another thread and move the result. The
//! other, [`LoadedModel::spawn`], takes microseconds.

use std::path::Path;

use bevy_ecs::prelude::*;

use crate::backend::Backend;
use crate::checkpoint::{ChatTemplate, Checkpoint, CheckpointError, ModelConfig, Tensor, Tokenizer};
use crate::cpu::rope::RopeTable;
use crate::cpu::{self, Cpu, Isa, Numerics, PackError, Workers, WorkersError};
use crate::schedule::{self, Turn};
use crate::world::layer::LayerIndex;
use crate::world::model::GenerationDefaults;
use crate::world::parts::ModelParts;
use crate::world::role::{MatrixRole, VectorRole};
use crate::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};

/// Loads the model in `directory`, in Hugging Face form or converted, into `world`: checks its files, brings its weights
/// into the form that the CPU's kernels read, and installs the schedules where they are not yet. Returns the model entity.
///
/// From then on, a [`Prompt`](crate::prelude::Prompt) that is spawned speaks when the world is
/// [advanced](crate::prelude::advance).
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// let mut world = World::new();
/// loquent::load(&mut world, "assets/demo-q4", LoadOptions::default())?;
/// let story = world.spawn((Prompt::text("Once upon a time"), StopRules::after(8))).id();
/// while advance(&mut world, Budget::Step) != Progress::Idle {}
/// assert_eq!(world.get::<Tokens>(story).unwrap().generated.len(), 8);
/// # Ok::<(), LoadError>(())
/// ```
///
/// # Errors
/// Whatever is wrong with the files, or no memory, or no threads. The world is then as it was.
pub fn load(world: &mut World, directory: impl AsRef<Path>, options: LoadOptions) -> Result<Entity, LoadError> {
    Ok(LoadedModel::open(directory, options)?.spawn(world))
}

/// How a model is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// What computes.
    pub backend: Backend,
    /// Threads that compute, the calling one included; 0, the default, is one for each core. A world that has [`Workers`]
    /// already keeps them.
    pub threads: usize,
    /// The instruction set; by default the widest that this machine has.
    pub isa: Isa,
    /// How weights of four bits are multiplied.
    pub numerics: Numerics,
}

impl LoadOptions {
    /// Computed by this.
    #[must_use]
    pub fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// With this many threads; 0 is one for each core.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// With this instruction set.
    #[must_use]
    pub fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// With these numerics.
    #[must_use]
    pub fn numerics(self, numerics: Numerics) -> Self {
        Self { numerics, ..self }
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E = CheckpointError> {
    /// Something is wrong with its files.
    #[error(transparent)]
    Source(#[from] E),
    /// There are no threads to compute on.
    #[error(transparent)]
    Workers(WorkersError),
    /// There is no memory for the weights.
    #[error(transparent)]
    Pack(PackError),
}

/// A model that was opened, checked and packed, and is in no world yet.
pub struct LoadedModel {
    config: ModelConfig,
    parts: ModelParts<Cpu>,
    text: TextSide,
    workers: Workers,
    packed_bytes: usize,
    bytes_per_token: usize,
}

/// What turns text into tokens and back, and what a model's makers generate with.
#[derive(Default)]
struct TextSide {
    tokenizer: Option<Tokenizer>,
    chat_template: Option<ChatTemplate>,
    defaults: GenerationDefaults,
}

impl LoadedModel {
    /// Opens the directory of a checkpoint, in Hugging Face form or converted.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(directory: impl AsRef<Path>, options: LoadOptions) -> Result<Self, LoadError> {
        Self::from_checkpoint(Checkpoint::open(directory.as_ref())?, options, |_| {})
    }

    /// Takes all tensors of an opened checkpoint; `progress` is told the name of each.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_checkpoint(
        mut checkpoint: Checkpoint,
        options: LoadOptions,
        progress: impl FnMut(&str),
    ) -> Result<Self, LoadError> {
        let config = checkpoint.config.clone();
        let model = Self::from_tensors(&config, &mut checkpoint, options, progress)?;
        checkpoint.warn_of_left_over();
        let defaults = GenerationDefaults {
            sampling: checkpoint.generation.sampling(),
            max_new_tokens: checkpoint.generation.max_new_tokens,
            end_tokens: end_tokens(&checkpoint, false),
            chat_end_tokens: end_tokens(&checkpoint, true),
        };
        let Checkpoint { tokenizer, chat_template, .. } = checkpoint;
        Ok(Self { text: TextSide { tokenizer, chat_template, defaults }, ..model })
    }

    /// Makes a model of `config` with tensors from any `source`, and without a text side; `progress` is told the name of
    /// each tensor.
    ///
    /// # Errors
    /// The first tensor that `source` could not give, or no memory, or no threads.
    pub fn from_tensors<M: MapTensors<Shapes, Mapped>>(
        config: &ModelConfig,
        source: &mut M,
        options: LoadOptions,
        progress: impl FnMut(&str),
    ) -> Result<Self, LoadError<M::Error>> {
        let workers = Workers::new(options.threads, options.isa).map_err(LoadError::Workers)?;
        let mut reader = Reader { source, progress, bytes: 0 };
        let mapped = ModelParts::shapes(config).map(&mut reader)?;
        // An embedding that is not the head as well is read a row a token.
        let rows_only = mapped.ends.lm_head.as_ref().map_or(0, |_| mapped.ends.embed_tokens.bytes().len());
        let bytes_per_token = reader.bytes - rows_only;
        let (parts, packed_bytes) = cpu::pack(mapped, &workers, options.numerics).map_err(LoadError::Pack)?;
        Ok(Self { config: config.clone(), parts, text: TextSide::default(), workers, packed_bytes, bytes_per_token })
    }

    /// The model's dimensions.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The bytes of weights that decoding a token reads.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        self.bytes_per_token
    }

    /// How it computes in fact: without weights of four bits, there is nothing to make fast.
    #[must_use]
    pub fn numerics(&self) -> Numerics {
        if self.packed_bytes > 0 { Numerics::Fast } else { Numerics::Exact }
    }

    /// Moves the model into `world`: an entity for it and a child for each layer. Installs the schedules and the CPU's
    /// systems where they are not yet. A world may hold several models, which take turns.
    pub fn spawn(self, world: &mut World) -> Entity {
        schedule::install(world);
        if !world.contains_resource::<Workers>() {
            world.insert_resource(self.workers);
        }
        cpu::add_systems(world);
        let Self { config, parts: ModelParts { ends, layers }, text, .. } = self;
        let of_cpu = (cpu::cache_cost(&config), RopeTable::of(&config));
        let mut model = world.spawn((config, ends, text.defaults, of_cpu, Turn::default()));
        if let Some(tokenizer) = text.tokenizer {
            model.insert(tokenizer);
        }
        if let Some(template) = text.chat_template {
            model.insert(template);
        }
        let model = model.id();
        for (index, parts) in layers.into_iter().enumerate() {
            parts.insert(&mut world.spawn((LayerIndex(index), ChildOf(model))));
        }
        model
    }
}

fn end_tokens(checkpoint: &Checkpoint, chat: bool) -> Vec<u32> {
    checkpoint.end_tokens(chat).into_iter().map(|end| end.id).collect()
}

/// A checkpoint hands out each tensor once its shape and values are checked. Its bytes mean what the model's makers say.
impl MapTensors<Shapes, Mapped> for Checkpoint {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, CheckpointError> {
        self.take(name, &matrix.dims)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, CheckpointError> {
        Ok(StoredVector { tensor: self.take(name, &vector.dims)?, role: vector.role })
    }
}

/// Tells of each tensor, and counts bytes.
struct Reader<'a, M, P> {
    source: &'a mut M,
    progress: P,
    bytes: usize,
}

impl<M: MapTensors<Shapes, Mapped>, P: FnMut(&str)> MapTensors<Shapes, Mapped> for Reader<'_, M, P> {
    type Error = M::Error;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, M::Error> {
        (self.progress)(name);
        let tensor = self.source.matrix(name, matrix)?;
        self.bytes += tensor.bytes().len();
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, M::Error> {
        let vector = self.source.vector(name, vector)?;
        self.bytes += vector.tensor.bytes().len();
        Ok(vector)
    }
}
