//! A sequence entity: a prompt, what has been generated from it, how to pick tokens and when to stop. Spawning a
//! [`Prompt`] is all a host has to do: what is not said comes from the model.

use std::sync::atomic::{AtomicU64, Ordering};

use bevy_ecs::prelude::*;

pub use super::status::{Admitted, FinishReason, Finished, Queued, Running, Waits};
use super::tokens::Tokens;
use crate::checkpoint::ChatMessage;

/// What a sequence continues. Read when the sequence is admitted, by the model's own tokenizer and chat template. Put on one
/// that has begun already, it begins anew with this: what it was at ends, and what begins alike is not read again.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// let mut world = World::new();
/// let story = world.spawn(Prompt::text("Once upon a time")).id();
/// assert!(world.get::<Queued>(story).is_some());
/// ```
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
#[require(Tokens, StopRules, Arrival, Queued)]
#[non_exhaustive]
pub enum Prompt {
    /// A text to go on with.
    Text(String),
    /// A conversation to answer, through the model's chat template.
    Chat(Vec<ChatMessage>),
    /// Token ids, as they are.
    Ids(Vec<u32>),
}

impl Prompt {
    /// A text to go on with.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A conversation to answer, through the model's chat template.
    pub fn chat(messages: impl Into<Vec<ChatMessage>>) -> Self {
        Self::Chat(messages.into())
    }

    /// Token ids, as they are: a model without a tokenizer takes these alone.
    pub fn ids(ids: impl Into<Vec<u32>>) -> Self {
        Self::Ids(ids.into())
    }

    /// Whether it is a conversation, whose turns end where the model's makers end them.
    #[must_use]
    pub fn is_chat(&self) -> bool {
        matches!(self, Self::Chat(_))
    }
}

/// The model that a sequence runs on. It may be left out where there is one.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
pub struct SpeaksWith(pub Entity);

/// Put beside a [`Prompt`], it asks for the logits after each of its tokens from this position on, where others are
/// asked only for those after the last. For systems between `Head` and `Emit`; what is picked stays the same.
#[derive(Component, Clone, Copy, Debug)]
#[component(immutable)]
pub struct LogitsFrom(pub usize);

/// Put beside a [`Prompt`], it asks for the sequence's logits in host memory, where systems between `Head` and `Sample` see
/// and change them and the sampler picks from them. On the CPU they are there anyway; a device otherwise picks by itself, and
/// gives back no more than the token. A sampler with penalties asks for them without this.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct HostLogits;

/// When a sequence ends, besides running into the model's `max_position_embeddings`. What is `None` is the model's.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct StopRules {
    /// Ends with [`FinishReason::Length`] at this many new tokens, or at the model's last position if that comes first;
    /// `Some(0)` reads the prompt and picks nothing.
    pub max_new_tokens: Option<usize>,
    /// Ends with [`FinishReason::Stop`] at any of these; `Some` of none ignores the model's own.
    pub end_tokens: Option<Vec<u32>>,
    /// Ends with [`FinishReason::Stop`] before any of these texts, which may be or hold special tokens. Needs a
    /// tokenizer.
    pub stop_texts: Vec<String>,
}

impl StopRules {
    /// The model's end tokens, and at most this many new ones.
    #[must_use]
    pub fn after(max_new_tokens: usize) -> Self {
        Self { max_new_tokens: Some(max_new_tokens), ..Self::default() }
    }
}

/// When a sequence came, among all: who came first is served first.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[component(immutable)]
pub struct Arrival(u64);

impl Default for Arrival {
    /// After all others.
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
