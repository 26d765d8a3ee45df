//! `tokenizer.json`: text → ids and back.

#![forbid(unsafe_code)]

use std::fmt;
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
        let mut tables = tokenizers::Tokenizer::from_bytes(&text)
            .map_err(|error| CheckpointError::file(&file, "a tokenizer", error.to_string()))?;
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
        check_added_tokens(&file, &text, &tables)?;
        Ok(Some(Self { tables: Arc::new(tables), file }))
    }

    /// The ids of `text`. Special tokens written out in it are recognised; `add_special_tokens` says whether the tokenizer
    /// may add its own at the ends, which a chat template has already written.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on this text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, CheckpointError> {
        match self.tables.encode_fast(text, add_special_tokens) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(CheckpointError::file(&self.file, "text it can encode", error.to_string())),
        }
    }

    /// The text of `ids`, with or without that of special tokens. Ids of no token are passed over, and bytes that are no
    /// UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on these ids.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, CheckpointError> {
        self.tables
            .decode(ids, skip_special_tokens)
            .map_err(|error| CheckpointError::file(&self.file, "ids it can decode", error.to_string()))
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

/// Refuses added tokens that did not get the id the file gives them: the `tokenizers` crate numbers on from the end of
/// the vocabulary whatever the file says.
fn check_added_tokens(file: &Path, text: &str, tables: &tokenizers::Tokenizer) -> Result<(), CheckpointError> {
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        content: String,
    }
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        added_tokens: Vec<Added>,
    }

    let parsed: File = serde_json::from_str(text)
        .map_err(|error| CheckpointError::file(file, "added_tokens with ids and contents", error.to_string()))?;
    for Added { id, content } in parsed.added_tokens {
        let found = tables.token_to_id(&content);
        if found != Some(id) {
            let found =
                format!("{}, which the vocabulary's size makes it", found.map_or("none".into(), |id| id.to_string()));
            return Err(CheckpointError::field(
                file,
                "added_tokens",
                format!("id {id} for {}", Excerpt(&content)),
                found,
            ));
        }
    }
    Ok(())
}
