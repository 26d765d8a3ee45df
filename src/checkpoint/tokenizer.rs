//! `tokenizer.json`: text → ids and back.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::error::{CheckpointError, Excerpt};
use super::source::Source;
use super::text_stream::TextStream;

const FILE: &str = "tokenizer.json";
/// Three times the published one, of 248 070 tokens.
const LARGEST: u64 = 64 << 20;

/// A tokenizer whose ids all lie in the model's vocabulary. Cheap to clone: clones share the tables.
#[derive(Clone)]
pub struct Tokenizer {
    tables: Arc<tokenizers::Tokenizer>,
    file: PathBuf,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokenizer").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads the file if there is one.
    pub(super) fn load(source: Source<'_>, vocab_size: usize) -> Result<Option<Self>, CheckpointError> {
        let Some(text) = source.text(FILE, LARGEST)? else { return Ok(None) };
        let file = source.path(FILE);
        let added = AddedToken::all(&file, &text)?;
        let mut tables = guarded(|| tokenizers::Tokenizer::from_bytes(&text))
            .map_err(|error| CheckpointError::file(&file, "a tokenizer", error))?;
        // A file may carry the settings of the batch it was trained on; they are no part of the tokenizer.
        tables.with_padding(None);
        let untruncated = tables.with_truncation(None).map(|_| ());
        untruncated.map_err(|error| CheckpointError::file(&file, "a tokenizer", error.to_string()))?;
        if let Some((token, id)) = tables.get_vocab(true).into_iter().max_by_key(|(_, id)| *id)
            && id as usize >= vocab_size
        {
            let found = format!("{id} for {}", Excerpt(&token));
            return Err(CheckpointError::file(
                &file,
                format!("ids below config.json's vocab_size = {vocab_size}"),
                found,
            ));
        }
        check_added_tokens(&file, &added, &tables)?;
        Ok(Some(Self { tables: Arc::new(tables), file }))
    }

    /// The ids of `text`. Special tokens written out in it are recognised; `add_special_tokens` says whether the tokenizer
    /// may add its own at the ends, which a chat template has already written.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on this text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, CheckpointError> {
        let encoding = guarded(|| self.tables.encode_fast(text, add_special_tokens));
        let ids = encoding.map(|encoding| encoding.get_ids().to_vec());
        ids.map_err(|error| CheckpointError::file(&self.file, "rules that fit every text", error))
    }

    /// The text of `ids`, with or without that of special tokens. Ids of no token are passed over, and bytes that are no
    /// UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on these ids.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, CheckpointError> {
        guarded(|| self.tables.decode(ids, skip_special_tokens))
            .map_err(|error| CheckpointError::file(&self.file, "rules that fit all ids", error))
    }

    /// A token as the vocabulary writes it; `None` if no token has this id.
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.tables.id_to_token(id)
    }

    /// The id of a token as the vocabulary writes it, e.g. `<|im_end|>`.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tables.token_to_id(token)
    }

    /// Decodes one id after another, leaving out special tokens.
    #[must_use]
    pub fn stream(&self) -> TextStream {
        TextStream::new(Arc::clone(&self.tables))
    }
}

/// Runs a part of the `tokenizers` crate, which panics where some malformed files should be errors, e.g. on a prefix of
/// subwords that is longer than the subwords.
pub(super) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    // What is left half done in there is at most a cache, which is behind locks that are not waited for.
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("rules that contradict each other".to_owned()),
    }
}

/// What a `tokenizer.json` says of an added token.
#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

impl AddedToken {
    fn all(file: &Path, text: &str) -> Result<Vec<Self>, CheckpointError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            added_tokens: Vec<AddedToken>,
        }
        match serde_json::from_str::<File>(text) {
            Ok(parsed) => Ok(parsed.added_tokens),
            Err(error) => Err(CheckpointError::file(file, "a tokenizer", error.to_string())),
        }
    }
}

/// Refuses added tokens that did not get the id the file gives them: the `tokenizers` crate numbers on from the end of
/// the vocabulary whatever the file says.
fn check_added_tokens(
    file: &Path,
    added: &[AddedToken],
    tables: &tokenizers::Tokenizer,
) -> Result<(), CheckpointError> {
    for AddedToken { id, content } in added {
        let found = tables.token_to_id(content);
        if found != Some(*id) {
            let found = found.map_or("none".to_owned(), |id| id.to_string());
            let expected = format!("id {id} for {}", Excerpt(content));
            let found = format!("{found}, which the vocabulary's size makes it");
            return Err(CheckpointError::field(file, "added_tokens", expected, found));
        }
    }
    Ok(())
}
