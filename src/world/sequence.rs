//! A sequence entity: a prompt, what has been generated from it, how to pick tokens and when to stop. Spawning a
//! [`Prompt`] is all a host has to do; the other components are required and have defaults.

use bevy_ecs::prelude::*;

use super::sampler::Sampler;
use crate::checkpoint::ModelConfig;

/// The token ids to continue. Never changes once spawned.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// let mut world = World::new();
/// let sequence = world.spawn(Prompt(vec![1, 2, 3])).id();
/// assert!(world.get::<Queued>(sequence).is_some());
/// ```
#[derive(Component, Clone, Debug, Default)]
#[component(immutable)]
#[require(Tokens, Sampler, StopRules, Queued)]
pub struct Prompt(pub Vec<u32>);

/// Put beside a [`Prompt`], it asks for the logits after each of its tokens from this position on, where others are
/// asked only for those after the last. For systems between `Head` and `Emit`; what is picked stays the same.
#[derive(Component, Clone, Copy, Debug)]
#[component(immutable)]
pub struct LogitsFrom(pub usize);

/// What the model has made of a prompt so far.
#[derive(Component, Clone, Debug, Default)]
pub struct Tokens {
    /// The new token ids, in order, an end-of-sequence token included.
    pub generated: Vec<u32>,
    /// How many tokens of the prompt and then of `generated` have gone through the model into the caches.
    pub processed: usize,
}

/// When a sequence ends, besides running into the model's `max_position_embeddings`.
#[derive(Component, Clone, Debug, Default)]
pub struct StopRules {
    /// Ends with [`FinishReason::Length`] at this many new tokens, or earlier at the model's last position; `Some(0)` reads
    /// the prompt and picks nothing.
    pub max_new_tokens: Option<usize>,
    /// Ends with [`FinishReason::Stop`] at any of these; usually the checkpoint's, empty to ignore them.
    pub eos_token_ids: Vec<u32>,
}

impl StopRules {
    /// How many tokens may be generated after `prompt`: as many as the rules allow and the model has positions for.
    ///
    /// # Errors
    /// What makes the prompt impossible to run on this model, however few new tokens are asked for.
    pub fn room(&self, prompt: &[u32], config: &ModelConfig) -> Result<usize, Refusal> {
        let context = config.max_position_embeddings;
        if prompt.is_empty() {
            return Err(Refusal::EmptyPrompt);
        }
        if let Some((index, &id)) = prompt.iter().enumerate().find(|&(_, &id)| id as usize >= config.vocab_size) {
            return Err(Refusal::UnknownToken { index, id, vocab_size: config.vocab_size });
        }
        let wanted = self.max_new_tokens.unwrap_or(usize::MAX);
        let left = context.checked_sub(prompt.len()).filter(|&left| left > 0 || wanted == 0);
        left.map(|left| wanted.min(left)).ok_or(Refusal::ContextOverflow { prompt: prompt.len(), context })
    }
}

/// Why a prompt cannot be run at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing to continue.
    #[error("the prompt is empty: expected at least one token")]
    EmptyPrompt,
    /// A token id that the model has no embedding for.
    #[error("prompt token {index} is {id}: expected an id below the vocabulary size, {vocab_size}")]
    UnknownToken {
        /// Where in the prompt.
        index: usize,
        /// The id found there.
        id: u32,
        /// One past the largest id.
        vocab_size: usize,
    },
    /// The prompt takes all positions there are, or more.
    #[error("the prompt leaves no room for a new token: it has {prompt} tokens, and the context has {context}")]
    ContextOverflow {
        /// Tokens in the prompt.
        prompt: usize,
        /// Positions, for the prompt and new tokens together.
        context: usize,
    },
}

/// Waits for its first step.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Queued;

/// Takes part in every step.
#[derive(Component, Clone, Copy, Debug)]
pub struct Running {
    /// How many new tokens there may be at most.
    pub room: usize,
}

/// Has ended; its tokens stay until it is despawned.
#[derive(Component, Clone, Debug)]
pub struct Finished(pub FinishReason);

/// Why a sequence ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// An end-of-sequence token or a stop string.
    Stop,
    /// `max_new_tokens`, or the model's last position.
    Length,
    /// It could not be run.
    Refused(Refusal),
    /// The model computed no finite logit: its weights overflow on this input.
    NonFinite,
}

/// A token was picked. Read with a `MessageReader`, or drained from `Messages<TokenGenerated>`.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct TokenGenerated {
    /// The sequence it continues.
    pub sequence: Entity,
    /// Its place among the new tokens, from 0.
    pub index: usize,
    /// The token's id.
    pub id: u32,
    /// The text that is now certain, if the sequence has a [`Transcript`](super::transcript::Transcript): whole
    /// characters only, and nothing that a stop string may still claim.
    pub text: String,
}

/// A sequence ended. Triggered on the sequence, for observers.
#[derive(EntityEvent, Clone, Debug, PartialEq, Eq)]
pub struct SequenceFinished {
    /// The sequence.
    #[event_target]
    pub sequence: Entity,
    /// Why it ended.
    pub reason: FinishReason,
    /// Text that was held back and is certain now.
    pub text: String,
}
