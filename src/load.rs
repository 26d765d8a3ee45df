//! The front door: a directory or a GGUF file → checked tensors → the form that a backend's kernels read → a model in the world.
//!
//! The slow half, [`LoadedModel::open`], needs no world: a host may run it on another thread and move the result. The
//! other, [`LoadedModel::spawn`], takes microseconds.

mod form;
mod mtp;
mod reader;

use std::path::Path;

use bevy_ecs::prelude::*;

use self::form::Form;
use self::reader::Reader;
use crate::backend::Backend;
use crate::checkpoint::{ChatTemplate, Checkpoint, CheckpointError, ModelConfig, Tokenizer};
use crate::cpu::rope::RopeTable;
use crate::cpu::{self, CacheType, Cpu, Isa, Numerics, PackError, Workers, WorkersError};
use crate::schedule::{self, Turn};
use crate::world::draft::TakesDrafts;
use crate::world::fingerprint::Fingerprint;
use crate::world::layer::layers_of;
use crate::world::model::{GenerationDefaults, Model, ModelState, Unavailable};
use crate::world::mtp::draft_model_of;
use crate::world::parts::ModelParts;
use crate::world::sequence::Running;
use crate::world::storage::{MapTensors, Mapped, Shapes};

/// Loads the model in `path`, a directory in Hugging Face form or converted, or a GGUF file, into `world`: checks its files, brings its weights
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
pub fn load(world: &mut World, path: impl AsRef<Path>, options: LoadOptions) -> Result<Entity, LoadError> {
    Ok(LoadedModel::open(path, options)?.spawn(world))
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
    /// The instruction set; by default the widest that this machine gains by.
    pub isa: Isa,
    /// How weights in blocks are multiplied, and those in BF16 where the processor multiplies them.
    pub numerics: Numerics,
    /// Whether the head that predicts several tokens is loaded. Without, it takes no memory. Only the CPU runs it: a device leaves
    /// it out.
    pub mtp: bool,
    /// What keys and values are kept as; `None`, the default, is [`CacheType::F16`] where the model computes with
    /// [`Numerics::Fast`] in fact, and [`CacheType::F32`] everywhere else: a model without weights in blocks stays exact.
    /// On a GPU they are in single precision.
    pub cache_type: Option<CacheType>,
    /// A device that the host has opened, to compute on.
    #[cfg(feature = "gpu")]
    pub device: Option<crate::gpu::GpuContext>,
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

    /// On this device.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn device(self, device: crate::gpu::GpuContext) -> Self {
        Self { device: Some(device), ..self }
    }

    /// With the head that predicts several tokens, or without it.
    #[must_use]
    pub fn mtp(self, mtp: bool) -> Self {
        Self { mtp, ..self }
    }

    /// With keys and values that are kept so.
    #[must_use]
    pub fn cache_type(self, cache_type: CacheType) -> Self {
        Self { cache_type: Some(cache_type), ..self }
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
    /// The head that predicts several tokens is wanted, and the configuration promises none.
    #[error("the model has no head that predicts several tokens: expected a configuration with one")]
    NoMtp,
    /// There are no threads to compute on.
    #[error(transparent)]
    Workers(WorkersError),
    /// There is no memory for the weights.
    #[error(transparent)]
    Pack(PackError),
    /// There is no such device, or it cannot take them.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(crate::gpu::GpuError),
    /// Whatever loaded it panicked, or was dropped.
    #[error("loading was interrupted: its task panicked or was dropped")]
    Interrupted,
}

/// A model that was opened, checked and packed, and is in no world yet.
pub struct LoadedModel {
    config: ModelConfig,
    form: Form,
    text: TextSide,
    workers: Workers,
    bytes_per_token: usize,
    fingerprint: Fingerprint,
}

/// What turns text into tokens and back, and what a model's makers generate with.
#[derive(Default)]
struct TextSide {
    tokenizer: Option<Tokenizer>,
    chat_template: Option<ChatTemplate>,
    defaults: GenerationDefaults,
}

impl LoadedModel {
    /// Opens a checkpoint: a directory in Hugging Face form or converted, or a GGUF file.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(path: impl AsRef<Path>, options: LoadOptions) -> Result<Self, LoadError> {
        Self::from_checkpoint(Checkpoint::open(path.as_ref())?, options, |_| {})
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
        checkpoint.check_mtp(options.mtp)?;
        let config = checkpoint.config.clone();
        Ok(Self::from_tensors(&config, &mut checkpoint, options, progress)?.with_text_side(checkpoint))
    }

    /// The text side of the checkpoint whose tensors these are.
    pub(crate) fn with_text_side(self, checkpoint: Checkpoint) -> Self {
        checkpoint.warn_of_left_over();
        let defaults = GenerationDefaults {
            sampling: checkpoint.generation.sampling(),
            max_new_tokens: checkpoint.generation.max_new_tokens,
            end_tokens: end_tokens(&checkpoint, false),
            chat_end_tokens: end_tokens(&checkpoint, true),
        };
        let Checkpoint { tokenizer, chat_template, .. } = checkpoint;
        Self { text: TextSide { tokenizer, chat_template, defaults }, ..self }
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
        let mut reader = Reader::new(config, source, progress);
        let mut shapes = ModelParts::shapes(config);
        let mtp = shapes.mtp.take();
        let mut mapped = shapes.map(&mut reader)?;
        // An embedding that is not the head as well is read a row a token.
        let rows_only = mapped.ends.lm_head.as_ref().map_or(0, |_| mapped.ends.embed_tokens.bytes().len());
        let bytes_per_token = reader.bytes_per_token(config) - rows_only;
        let fingerprint = reader.fingerprint();
        if options.mtp {
            mapped.mtp = Some(mtp.ok_or(LoadError::NoMtp)?.map(&mut reader)?);
        }
        let form = Form::of(config, mapped, &workers, &options)?;
        Ok(Self { config: config.clone(), form, text: TextSide::default(), workers, bytes_per_token, fingerprint })
    }

    /// The model's dimensions.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Which model it is.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The bytes of weights that decoding a token reads.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        self.bytes_per_token
    }

    /// The name of the graphics adapter that it computes on; `None` on the CPU.
    #[must_use]
    pub fn adapter(&self) -> Option<&str> {
        match &self.form {
            Form::Cpu { .. } => None,
            #[cfg(feature = "gpu")]
            Form::Gpu { model, .. } => Some(&model.context().info().name),
        }
    }

    /// How it computes in fact: without weights that can be multiplied fast, exactly.
    #[must_use]
    pub fn numerics(&self) -> Numerics {
        self.form.numerics()
    }

    /// What keys and values are kept as.
    #[must_use]
    pub fn cache_type(&self) -> CacheType {
        match &self.form {
            Form::Cpu { cache_type, .. } => *cache_type,
            #[cfg(feature = "gpu")]
            Form::Gpu { .. } => CacheType::F32,
        }
    }

    /// Moves the model into `world`: an entity for it and a child for each layer. Installs the schedules and the CPU's
    /// systems where they are not yet. A world may hold several models, which take turns.
    pub fn spawn(self, world: &mut World) -> Entity {
        let model = world.spawn_empty().id();
        self.insert(world, model);
        model
    }

    /// Moves the model into an entity of `world` that is none yet, as [`spawn`](Self::spawn) does into a new one. Sequences may
    /// have named it before: see [`ModelState`].
    ///
    /// # Panics
    /// If there is no such entity.
    pub fn insert(self, world: &mut World, model: Entity) {
        schedule::install(world);
        if !world.contains_resource::<Workers>() {
            world.insert_resource(self.workers);
        }
        cpu::add_systems(world);
        let Self { config, form, text, fingerprint, .. } = self;
        let mut entity = world.entity_mut(model);
        entity.insert((config, text.defaults, Turn::default(), fingerprint, ModelState::Ready));
        if let Some(tokenizer) = text.tokenizer {
            entity.insert(tokenizer);
        }
        if let Some(template) = text.chat_template {
            entity.insert(template);
        }
        form.insert(world, model);
    }
}

impl LoadedModel {
    /// Gives a model of `world` this form of it, in place of the one that it has: after its device was lost, or to go on on
    /// the CPU. Its sequences keep their text, and read it again.
    ///
    /// # Errors
    /// If `model` is no model of the same dimensions.
    pub fn revive(self, world: &mut World, model: Entity) -> Result<(), ReviveError> {
        let found = world.get::<ModelConfig>(model).ok_or(ReviveError::NoModel(model))?;
        if *found != self.config {
            return Err(ReviveError::OtherModel);
        }
        schedule::leave_step(world);
        let mut sequences = world.query::<(Entity, &Running)>();
        let running = sequences.iter(world).filter(|(_, running)| running.model == model).map(|(entity, _)| entity);
        for sequence in running.collect::<Vec<_>>() {
            schedule::read_again(&mut world.entity_mut(sequence));
        }
        for part in layers_of(world, model).into_iter().chain(draft_model_of(world, model)) {
            world.despawn(part);
        }
        let mut entity = world.entity_mut(model);
        entity.remove::<(Model<Cpu>, RopeTable, Numerics, CacheType, TakesDrafts, Unavailable)>();
        #[cfg(feature = "gpu")]
        entity.remove::<(Model<crate::gpu::Gpu>, crate::gpu::GpuModel)>();
        entity.insert(self.fingerprint);
        self.form.insert(world, model);
        Ok(())
    }
}

/// Why a model could not be revived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReviveError {
    /// There is none.
    #[error("{0} is no model: expected the entity that loading returned")]
    NoModel(Entity),
    /// It is another.
    #[error("the models differ in their dimensions: expected the same model")]
    OtherModel,
}

fn end_tokens(checkpoint: &Checkpoint, chat: bool) -> Vec<u32> {
    checkpoint.end_tokens(chat).into_iter().map(|end| end.id).collect()
}
