//! Where a sequence is between being asked and having answered.

use bevy_ecs::prelude::*;

use super::refusal::Refusal;

/// Waits to take part in steps: [`Waits`] says for what, from the next step on.
#[derive(Component, Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug))]
pub struct Queued;

/// What a [`Queued`] sequence waits for.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
#[non_exhaustive]
pub enum Waits {
    /// A model: there is none, or its own is still loading or cannot compute for now.
    ForModel,
    /// Others to end: as many run as may.
    ForTurn,
    /// Memory for its caches.
    ForMemory {
        /// What they take, in bytes.
        needed: u64,
    },
    /// The sequence that it is a fork of to have read its prompt.
    ForOriginal(Entity),
}

/// On a sequence that was let in: itself, and the model that its caches are of. A clone holds another's, and a second prompt
/// finds its own.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[component(immutable)]
pub struct Admitted {
    /// Who was let in.
    pub sequence: Entity,
    /// To run on this.
    pub model: Entity,
}

/// Takes part in steps, unless it is [`Paused`](super::control::Paused). Taken away, it is let in anew.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Running {
    /// The model it runs on.
    pub model: Entity,
    /// How many new tokens there may be at most.
    pub room: usize,
    /// Whether it is the context that leaves no more room, and not a wish.
    pub is_full_then: bool,
    /// Whether nothing was asked, and it ends when it has read all there is.
    pub only_reads: bool,
    /// The tokens that end it.
    pub end_tokens: Vec<u32>,
}

/// Has ended; its tokens stay until it is despawned, and its caches for as long as nobody else needs their room. A
/// conversation goes on when it is [told](super::control::Say) more.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Finished(pub FinishReason);

/// Why a sequence ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Clone, Debug, PartialEq))]
#[non_exhaustive]
pub enum FinishReason {
    /// An end-of-sequence token or a stop text.
    Stop,
    /// `max_new_tokens`, or the model's last position.
    Length,
    /// It has read what it was to read, and nothing was asked: a [`SystemPrompt`](super::conversation::SystemPrompt).
    Read,
    /// Its host stopped or despawned it.
    Cancelled,
    /// Its host stopped it for this reason.
    Stopped(String),
    /// It could not be run.
    Refused(Refusal),
    /// The model computed no finite logit: its weights overflow on this input.
    NonFinite,
    /// Its caches alone would take more than [`Limits::cache_bytes`](super::limits::Limits::cache_bytes).
    CacheFull {
        /// What they would take.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// Its model was despawned.
    ModelDespawned,
}
