//! Why there is no figure.

/// Why a perplexity could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PerplexityError {
    /// No token in it would have one before it.
    #[error("the window is {found} tokens: expected at least 2")]
    WindowTooShort {
        /// The window asked for.
        found: usize,
    },
    /// It would stand still, or pass over tokens.
    #[error("the stride is {found} tokens: expected 1 to {window}, the window")]
    Stride {
        /// The stride asked for.
        found: usize,
        /// The window.
        window: usize,
    },
    /// The model has not so many positions.
    #[error("{model}: the window is {window} tokens: expected at most {context}, its max_position_embeddings")]
    WindowTooLong {
        /// The model's name.
        model: String,
        /// The window asked for.
        window: usize,
        /// The model's context.
        context: usize,
    },
    /// There is nothing to predict, or nothing to predict it from.
    #[error("the text has {found} tokens: expected at least 2, one to predict and one before it")]
    TextTooShort {
        /// Tokens in the text.
        found: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("{model}: token {index} of the text is {id}: expected an id below the vocabulary size, {vocab_size}")]
    UnknownToken {
        /// The model's name.
        model: String,
        /// Where in the text.
        index: usize,
        /// The id found there.
        id: u32,
        /// One past the largest id.
        vocab_size: usize,
    },
    /// Their predictions are not about the same tokens.
    #[error("{second} has {second_size} tokens: expected {first_size}, as {first} has")]
    Vocabularies {
        /// The first model's name.
        first: String,
        /// Its vocabulary size.
        first_size: usize,
        /// The second model's name.
        second: String,
        /// Its vocabulary size.
        second_size: usize,
    },
    /// The weights overflow, or hold what is no number.
    #[error("{model}: expected finite logits, found none where token {index} of the text is predicted")]
    NonFinite {
        /// The model's name.
        model: String,
        /// Where in the text.
        index: usize,
    },
    /// A world has no model.
    #[error("{model}: expected a world with a model, found none")]
    NoModel {
        /// The name given to it.
        model: String,
    },
    /// The worlds cut the text differently.
    #[error("{first} and {second} are out of step: expected the same Limits and no other sequences in their worlds")]
    OutOfStep {
        /// The first model's name.
        first: String,
        /// The second model's name.
        second: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the end of the text")]
    Stopped,
}
