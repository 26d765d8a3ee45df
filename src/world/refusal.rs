//! Why a prompt cannot be run at all.

use crate::checkpoint::ModelConfig;

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
    /// More positions than there are.
    #[error("the prompt has {prompt} tokens: expected at most {context}, the model's context")]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens that fit.
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
    #[error("the sequence names no model, and there are {models}: expected `OfModel` beside the prompt")]
    ModelNotNamed {
        /// How many there are.
        models: usize,
    },
    /// What the sequence names as its model is none, or no more.
    #[error("`OfModel` names {0}, which is no model: expected the entity that loading returned")]
    NoSuchModel(bevy_ecs::entity::Entity),
    /// A prompt, or `Queued`, was put on a sequence that runs or has ended.
    #[error("the sequence has begun already: expected a new entity for a new prompt")]
    AlreadyBegun,
}

impl Refusal {
    /// Refuses a prompt that `config` has no tokens or no positions for.
    ///
    /// # Errors
    /// What makes it impossible to run.
    pub fn check(prompt: &[u32], config: &ModelConfig) -> Result<(), Self> {
        let (vocab_size, context) = (config.vocab_size, config.max_position_embeddings);
        if prompt.is_empty() {
            return Err(Self::EmptyPrompt);
        }
        if let Some((index, &id)) = prompt.iter().enumerate().find(|&(_, &id)| id as usize >= vocab_size) {
            return Err(Self::UnknownToken { index, id, vocab_size });
        }
        if prompt.len() > context {
            return Err(Self::PromptTooLong { prompt: prompt.len(), context });
        }
        Ok(())
    }
}
