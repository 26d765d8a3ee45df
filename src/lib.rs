//! A language-model runtime built as a data-oriented ECS: Qwen3.5, Qwen3 and Llama on [`bevy_ecs`].
//!
//! ```
//! use bevy_ecs::prelude::*;
//! use loquent::prelude::*;
//!
//! let mut world = World::new();
//! loquent::load(&mut world, "assets/demo-q4", LoadOptions::default())?;
//! world.spawn((Prompt::text("Once upon a time"), StopRules::after(8)));
//! while advance(&mut world, Budget::Step) != Progress::Idle {}
//! # Ok::<(), LoadError>(())
//! ```
//!
//! A token's path:
//!
//! 1. [`checkpoint`] maps a Hugging Face directory, or a GGUF file, and checks every byte it will use.
//! 2. [`load`](load()) gives each tensor the form its kernels read, and spawns the model: an entity for it, and a child
//!    entity for each layer, whose tensors are components.
//! 3. A host spawns a sequence: an entity with a [`Prompt`](world::sequence::Prompt).
//! 4. [`schedule::advance`] takes all sequences a step further. `BeginStep` admits the new ones and embeds a batch of
//!    tokens into the [`Residual`](world::activations::Residual);
//! 5. `LayerPass` runs once per layer entity: norm, mixer ([`cpu::delta_net`] or [`cpu::attention`]), norm,
//!    [`cpu::mlp`], each adding to the residual;
//! 6. `EndStep` turns the last row of each sequence into logits ([`cpu::head`]), lets a host constrain them, picks a token
//!    ([`sampling`]) and sends it out as a [`TokenGenerated`](world::heard::TokenGenerated) message.
//!
//! [A guided tour](tour) begins with the first word and ends with many speakers within a frame's time.
//! The table of contents of a step is [`schedule::LayerSystems`] and [`schedule::StepSystems`].
#![deny(unsafe_code)]

mod backend;
pub mod checkpoint;
pub mod convert;
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod inspect;
mod load;
pub mod perplexity;
#[cfg(feature = "bevy")]
pub mod plugin;
pub mod quant;
pub mod sampling;
pub mod schedule;
pub mod snapshot;
pub mod tally;
#[doc = include_str!("tour.md")]
pub mod tour {}
pub mod world;

pub use backend::{Backend, BackendError};
pub use load::{LoadError, LoadOptions, LoadedModel, ReviveError, load};

/// What most hosts need.
pub mod prelude {
    pub use crate::backend::Backend;
    pub use crate::checkpoint::{ChatMessage, ChatOptions, ChatRequest, Checkpoint, CheckpointError, ModelConfig};
    pub use crate::cpu::{Cpu, Workers};
    pub use crate::load::{LoadError, LoadOptions, LoadedModel, load};
    #[cfg(feature = "bevy")]
    pub use crate::plugin::{FrameBudget, LoquentPlugin, LoquentSystems, ModelFailed, ModelLoaded, Models};
    pub use crate::sampling::Sampling;
    pub use crate::schedule::{Budget, LayerSystems, Progress, StepSystems, advance, install};
    pub use crate::world::control::{
        Forgetful, ForkOf, Paused, Priority, Rewind, Say, SequenceCommands, Stop, TurnsForgotten,
    };
    pub use crate::world::conversation::{Conversation, SystemPrompt};
    pub use crate::world::heard::{SequenceFinished, Spoken, TokenGenerated};
    pub use crate::world::limits::Limits;
    pub use crate::world::model::ModelState;
    pub use crate::world::sampler::{Sampler, Seed};
    pub use crate::world::sequence::{
        FinishReason, Finished, HostLogits, Prompt, Queued, Running, SpeaksWith, StopRules, Waits,
    };
    pub use crate::world::tokens::Tokens;
    pub use crate::world::transcript::Transcript;
}

/// The README's example, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
