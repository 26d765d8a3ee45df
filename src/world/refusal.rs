//! Why a prompt cannot be run at all.

use crate::checkpoint::ModelConfig;

/// Why a prompt cannot be run at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Clone, Debug, PartialEq))]
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
    /// Text, and nothing that would turn it into tokens.
    #[error("{what} needs a tokenizer, and the model has none: expected tokenizer.json (token ids work without)")]
    NoTokenizer {
        /// What asked for one.
        what: &'static str,
    },
    /// A conversation, and nothing that says how it is written.
    #[error(
        "a chat needs a chat template, and the model has none: expected chat_template.jinja, or chat_template in tokenizer_config.json"
    )]
    NoChatTemplate,
    /// The tokenizer or the chat template fails on this prompt.
    #[error("{0}")]
    Text(String),
    /// There are several models, and the sequence does not say on which it runs.
    #[error("the sequence names no model, and there are {models}: expected `SpeaksWith` beside the prompt")]
    ModelNotNamed {
        /// How many there are.
        models: usize,
    },
    /// What the sequence names as its model is none, or no more.
    #[error("`SpeaksWith` names {0}, which is no model: expected the entity that loading returned")]
    NoSuchModel(bevy_ecs::entity::Entity),
    /// The model could not be loaded.
    #[error("its model, {model}, was not loaded: {reason}")]
    ModelFailed {
        /// Which.
        model: bevy_ecs::entity::Entity,
        /// Why not.
        reason: String,
    },
    /// What a sequence is to be a fork of is none, or no more.
    #[error("`ForkOf` names {0}, which is no sequence, or ended before it had read its prompt")]
    NoSuchSequence(bevy_ecs::entity::Entity),
    /// Its sampling settings are out of range.
    #[error("{0}")]
    Sampling(String),
}

impl Refusal {
    /// How many of `wanted` new tokens there is room for after a prompt.
    ///
    /// # Errors
    /// What makes the prompt impossible to run, however few new tokens are asked for: it has tokens that `config` does not
    /// have, or leaves no position.
    pub fn room(prompt: &[u32], wanted: usize, config: &ModelConfig) -> Result<usize, Self> {
        let (vocab_size, context) = (config.vocab_size, config.max_position_embeddings);
        if prompt.is_empty() {
            return Err(Self::EmptyPrompt);
        }
        if let Some((index, &id)) = prompt.iter().enumerate().find(|&(_, &id)| id as usize >= vocab_size) {
            return Err(Self::UnknownToken { index, id, vocab_size });
        }
        let left = context.checked_sub(prompt.len()).filter(|&left| left > 0 || wanted == 0);
        left.map(|left| wanted.min(left)).ok_or(Self::ContextOverflow { prompt: prompt.len(), context })
    }
}
