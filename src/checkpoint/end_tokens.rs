//! Which tokens end a text, and why. In a chat, configurations often name only the one that ends a document, while the
//! model ends its turn with another: then the tokenizer's configuration or the template knows it.

#![forbid(unsafe_code)]

use std::fmt;

use super::chat::ChatTemplate;
use super::directory::Checkpoint;
use super::error::Excerpt;

/// A token that ends a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndToken {
    /// Its id.
    pub id: u32,
    /// As the vocabulary writes it; `None` without a tokenizer.
    pub text: Option<String>,
    /// The first that says so.
    pub source: EndTokenSource,
}

/// What makes a token end a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndTokenSource {
    /// `generation_config.json`'s `eos_token_id`.
    GenerationConfig,
    /// `config.json`'s `eos_token_id`, where `generation_config.json` has none.
    ModelConfig,
    /// `tokenizer_config.json`'s `eos_token`.
    TokenizerConfig,
    /// The chat template ends an assistant's message with it.
    ChatTemplate,
}

impl Checkpoint {
    /// The tokens that end a text, each once: those of `generation_config.json`, else of `config.json`. In a chat, also
    /// the tokenizer's own and the special token with which the template ends an assistant's message.
    #[must_use]
    pub fn end_tokens(&self, chat: bool) -> Vec<EndToken> {
        let configured = match self.generation.eos_token_ids {
            Some(_) => EndTokenSource::GenerationConfig,
            None => EndTokenSource::ModelConfig,
        };
        let mut found: Vec<_> = self.eos_token_ids().iter().map(|&id| (id, configured)).collect();
        if let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| chat) {
            found.extend(tokenizer.eos_token().map(|id| (id, EndTokenSource::TokenizerConfig)));
            let ending = self.chat_template.as_ref().and_then(ChatTemplate::assistant_ending);
            let token = ending.and_then(|ending| tokenizer.special_at_start(ending.trim_start()));
            found.extend(token.map(|id| (id, EndTokenSource::ChatTemplate)));
        }
        let mut tokens: Vec<EndToken> = Vec::new();
        for (id, source) in found {
            if tokens.iter().all(|token| token.id != id) {
                let text = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.id_to_token(id));
                tokens.push(EndToken { id, text, source });
            }
        }
        tokens
    }
}

impl fmt::Display for EndToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "token {}", self.id)?;
        if let Some(text) = &self.text {
            write!(formatter, ", {},", Excerpt(text))?;
        }
        write!(formatter, " ends the text: {}", self.source)
    }
}

impl fmt::Display for EndTokenSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::GenerationConfig => "generation_config.json's eos_token_id names it",
            Self::ModelConfig => "config.json's eos_token_id names it",
            Self::TokenizerConfig => "tokenizer_config.json's eos_token names it",
            Self::ChatTemplate => "the chat template ends an assistant's message with it",
        })
    }
}
