//! The tables and rules of the `tokenizers` crate, which panics where some malformed files should be errors, e.g. on a
//! prefix of subwords that is longer than the subwords. Nothing here does.

#![forbid(unsafe_code)]

use std::panic::{self, AssertUnwindSafe};

use tokenizers::{AddedToken, DecoderWrapper, Model};

/// What a `tokenizer.json` holds.
pub(super) struct Tables(tokenizers::Tokenizer);

impl Tables {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tables = guarded(|| tokenizers::Tokenizer::from_bytes(text))?;
        // A file may carry the settings of the batch it was trained on; they are no part of the tokenizer.
        tables.with_padding(None);
        guarded(|| tables.with_truncation(None).map(|_| ()))?;
        Ok(Self(tables))
    }

    /// Gives each token that the vocabulary has the id it has there, and numbers the others on from the end. Of a token
    /// that was added before, only the flags change.
    pub(super) fn add(&mut self, tokens: Vec<AddedToken>) -> Result<(), String> {
        guarded(|| self.0.add_tokens(tokens).map(|_| ()))
    }

    pub(super) fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, String> {
        guarded(|| self.0.encode_fast(text, add_special_tokens)).map(|encoding| encoding.get_ids().to_vec())
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, String> {
        guarded(|| self.0.decode(ids, skip_special_tokens))
    }

    pub(super) fn token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    /// The token with the largest id.
    pub(super) fn last(&self) -> Option<(String, u32)> {
        self.0.get_vocab(true).into_iter().max_by_key(|(_, id)| *id)
    }

    /// The token that the vocabulary itself has for an id, whatever was added to it.
    pub(super) fn in_vocabulary(&self, id: u32) -> Option<String> {
        self.0.get_model().id_to_token(id)
    }

    /// What was added to the vocabulary under this id.
    pub(super) fn added(&self, id: u32) -> Option<&AddedToken> {
        self.0.get_added_vocabulary().get_added_tokens_decoder().get(&id)
    }

    pub(super) fn is_added(&self, token: &str) -> bool {
        self.0.get_added_vocabulary().get_vocab().contains_key(token)
    }

    /// The id of the next new token. `None` if ids have gaps: the crate counts tokens, so it would give one away twice.
    pub(super) fn next_id(&self) -> Option<u32> {
        let count = u32::try_from(self.0.get_vocab_size(true)).ok()?;
        (self.last().map_or(0, |(_, id)| id.saturating_add(1)) == count).then_some(count)
    }

    /// The text of a special token, `None` if the id is that of no special token.
    pub(super) fn special(&self, id: u32) -> Option<&str> {
        // Decoding leaves tokens out by the text they have once normalised.
        let is_left_out = self.token(id).is_some_and(|token| self.is_special(&token));
        self.added(id).filter(|_| is_left_out).map(|token| token.content.as_str())
    }

    /// The texts of all special tokens, in no particular order.
    pub(super) fn specials(&self) -> impl Iterator<Item = &str> {
        let added = self.0.get_added_vocabulary().get_added_tokens_decoder();
        added.values().map(|token| token.content.as_str()).filter(|text| self.is_special(text))
    }

    fn is_special(&self, token: &str) -> bool {
        self.0.get_added_vocabulary().is_special_token(token)
    }

    /// Whether each token stands for bytes of its own, whatever its neighbours are.
    pub(super) fn is_byte_level(&self) -> bool {
        matches!(self.0.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
    }
}

fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    // What is left half done in there is at most a cache, which is behind locks that are not waited for.
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("rules that contradict each other".to_owned()),
    }
}
