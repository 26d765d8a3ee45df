//! How far ids that are there stand for the beginning of a text: what a conversation need not tokenise, or read, again.

#![forbid(unsafe_code)]

use super::text_stream::push_token_bytes;
use super::tokenizer::Tokenizer;

/// Ids that a text begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// How many.
    pub ids: usize,
    /// How many bytes of the text they stand for.
    pub bytes: usize,
}

impl Tokenizer {
    /// How many of `ids` stand for the beginning of `text`, special tokens being as they are written out.
    ///
    /// Where ids and text part, the rest of the text can be tokenised by itself if it begins where an added token ends or
    /// begins, since texts are split there first, or among ids that are not the tokenizer's own: `is_given` says so of
    /// each place. The prefix ends at such a place.
    ///
    /// Where tokens look at their neighbours, in tokenizers that are not of the byte-level kind, it is all of `ids` or none.
    #[must_use]
    pub fn common_prefix(&self, ids: &[u32], text: &str, is_given: impl Fn(usize) -> bool) -> Prefix {
        if !self.tables().is_byte_level() {
            let whole = self.tables().decode(ids, false).ok().filter(|whole| text.starts_with(whole));
            return whole.map_or(Prefix::default(), |whole| Prefix { ids: ids.len(), bytes: whole.len() });
        }
        let mut cut = Prefix::default();
        let mut bytes = 0;
        let mut after_added = true;
        for (index, &id) in ids.iter().enumerate() {
            let is_added = self.tables().added(id).is_some();
            if text.is_char_boundary(bytes) && (after_added || is_added || is_given(index)) {
                cut = Prefix { ids: index, bytes };
            }
            let token = self.token_bytes(id);
            if !text.as_bytes()[bytes..].starts_with(&token) {
                return cut;
            }
            (bytes, after_added) = (bytes + token.len(), is_added);
        }
        if text.is_char_boundary(bytes) { Prefix { ids: ids.len(), bytes } } else { cut }
    }

    /// The ids of a text that others may go on from: without those at its end that might become other ones with what follows.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_open(&self, text: &str) -> Result<Vec<u32>, super::error::CheckpointError> {
        let mut ids = self.encode(text, false)?;
        let added = |&id: &u32| self.tables().added(id).is_some();
        let kept = ids.iter().rposition(added).map_or(ids.len().saturating_sub(1), |last| last + 1);
        ids.truncate(kept);
        Ok(ids)
    }

    /// The bytes that an id of a byte-level vocabulary stands for; none for that of no token.
    fn token_bytes(&self, id: u32) -> Vec<u8> {
        if let Some(added) = self.tables().added(id) {
            return added.content.clone().into_bytes();
        }
        let mut bytes = Vec::new();
        if let Some(token) = self.tables().token(id) {
            push_token_bytes(&mut bytes, &token);
        }
        bytes
    }
}
