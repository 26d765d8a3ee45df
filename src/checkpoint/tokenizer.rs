//! `tokenizer.json`: text → ids and back.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokenizers::AddedToken;

use super::error::{CheckpointError, Excerpt};
use super::source::Source;
use super::tables::Tables;
use super::text_stream::TextStream;
use super::tokenizer_config::TokenizerConfig;

const FILE: &str = "tokenizer.json";
/// Three times the published one, of 248 070 tokens.
const LARGEST: u64 = 64 << 20;

/// A tokenizer whose ids all lie in the model's vocabulary. Cheap to clone: clones share the tables.
#[derive(Clone)]
pub struct Tokenizer {
    tables: Arc<Tables>,
    file: PathBuf,
    eos_token: Option<u32>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokenizer").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads the file if there is one.
    pub(super) fn load(
        source: Source<'_>,
        config: &TokenizerConfig,
        vocab_size: usize,
    ) -> Result<Option<Self>, CheckpointError> {
        let Some(text) = source.text(FILE, LARGEST)? else { return Ok(None) };
        let file = source.path(FILE);
        let stated = Stated::all(&file, &text)?;
        let mut tables = Tables::parse(&text).map_err(|error| CheckpointError::file(&file, "a tokenizer", error))?;
        if let Some((token, id)) = tables.last().filter(|(_, id)| *id as usize >= vocab_size) {
            let expected = format!("ids below config.json's vocab_size = {vocab_size}");
            return Err(CheckpointError::file(&file, expected, format!("{id} for {}", Excerpt(&token))));
        }
        for Stated { id, content } in &stated {
            check_id(&tables, *id, content, || (&file, "added_tokens".to_owned()))?;
        }
        add_numbered(&mut tables, config, vocab_size)?;
        add_special(&mut tables, config, vocab_size)?;
        let eos_token = config.named().find(|(name, _)| *name == "eos_token").and_then(|(_, text)| tables.id(text));
        Ok(Some(Self { tables: Arc::new(tables), file, eos_token }))
    }

    /// The ids of `text`. Special tokens written out in it are recognised; `add_special_tokens` says whether the tokenizer
    /// may add its own at the ends, which a chat template has already written.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on this text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, CheckpointError> {
        let ids = self.tables.encode(text, add_special_tokens);
        ids.map_err(|error| CheckpointError::file(&self.file, "rules that fit every text", error))
    }

    /// The text of `ids`, with or without that of special tokens. Ids of no token are passed over, and bytes that are no
    /// UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on these ids.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, CheckpointError> {
        let text = self.tables.decode(ids, skip_special_tokens);
        text.map_err(|error| CheckpointError::file(&self.file, "rules that fit all ids", error))
    }

    /// A token as the vocabulary writes it; `None` if no token has this id.
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.tables.token(id)
    }

    /// The id of a token as the vocabulary writes it, e.g. `<|im_end|>`.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tables.id(token)
    }

    /// The token that ends a text, as far as `tokenizer_config.json` names one.
    #[must_use]
    pub fn eos_token(&self) -> Option<u32> {
        self.eos_token
    }

    /// The special token that `text` begins with.
    pub(super) fn special_at_start(&self, text: &str) -> Option<u32> {
        let begins = self.tables.specials().filter(|special| text.starts_with(special));
        begins.max_by_key(|special| special.len()).and_then(|special| self.tables.id(special))
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Decodes one id after another, leaving out special tokens.
    #[must_use]
    pub fn stream(&self) -> TextStream {
        TextStream::new(Arc::clone(&self.tables))
    }
}

/// What a `tokenizer.json` says of an added token.
#[derive(Deserialize)]
struct Stated {
    id: u32,
    content: String,
}

impl Stated {
    fn all(file: &Path, text: &str) -> Result<Vec<Self>, CheckpointError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            added_tokens: Vec<Stated>,
        }
        match serde_json::from_str::<File>(text) {
            Ok(parsed) => Ok(parsed.added_tokens),
            Err(error) => Err(CheckpointError::file(file, "a tokenizer", error.to_string())),
        }
    }
}

/// Refuses an added token that did not get the id its file gives it: the `tokenizers` crate numbers on from the end of
/// the vocabulary whatever a file says.
fn check_id<'a>(
    tables: &Tables,
    id: u32,
    content: &str,
    place: impl Fn() -> (&'a Path, String),
) -> Result<(), CheckpointError> {
    let found = match (tables.id(content), tables.in_vocabulary(id)) {
        (Some(found), other) if found == id => match other.filter(|other| other != content) {
            None => return Ok(()),
            Some(other) => format!("it taken by {}", Excerpt(&other)),
        },
        (Some(found), _) => format!("{found}, which the other tokens make it"),
        (None, _) => "none".to_owned(),
    };
    let (file, field) = place();
    Err(CheckpointError::field(file, field, format!("id {id} for {}", Excerpt(content)), found))
}

/// Adds the tokens whose ids `tokenizer_config.json` states, and takes its word for how others are treated.
fn add_numbered(tables: &mut Tables, config: &TokenizerConfig, vocab_size: usize) -> Result<(), CheckpointError> {
    if let Some((id, token)) = config.added.iter().find(|(id, _)| *id as usize >= vocab_size) {
        let expected = format!("an id below config.json's vocab_size = {vocab_size}");
        let found = format!("{id} for {}", Excerpt(&token.content));
        return Err(CheckpointError::field(&config.file, TokenizerConfig::field_of(*id), expected, found));
    }
    let named: HashSet<&str> = config.special.iter().map(|(_, token)| token.content.as_str()).collect();
    let news = config.added.iter().filter(|(id, token)| tables.added(*id) != Some(token));
    let news = news.map(|(_, token)| token.clone().special(token.special || named.contains(token.content.as_str())));
    add(tables, config, news.collect())?;
    for (id, token) in &config.added {
        check_id(tables, *id, &token.content, || (&config.file, TokenizerConfig::field_of(*id)))?;
    }
    Ok(())
}

/// Makes those special that `tokenizer_config.json` only calls so. As in transformers, ones that no file gives an id
/// come after all others.
fn add_special(tables: &mut Tables, config: &TokenizerConfig, vocab_size: usize) -> Result<(), CheckpointError> {
    let mut seen = HashSet::new();
    let mut next = None;
    let mut news = Vec::new();
    for (field, token) in &config.special {
        if tables.is_added(&token.content) || !seen.insert(&token.content) {
            continue;
        }
        if tables.id(&token.content).is_none() {
            let id = *next.get_or_insert_with(|| tables.next_id());
            if id.is_none_or(|id| id as usize >= vocab_size) {
                let (file, content) = (config.file.display(), Excerpt(&token.content));
                tracing::warn!("{file}: `{field}` has no effect: no token is {content}, and there is no id for it");
                continue;
            }
            next = Some(id.map(|id| id + 1));
        }
        news.push(token.clone());
    }
    add(tables, config, news)
}

fn add(tables: &mut Tables, config: &TokenizerConfig, tokens: Vec<AddedToken>) -> Result<(), CheckpointError> {
    if tokens.is_empty() {
        return Ok(());
    }
    tables.add(tokens).map_err(|error| CheckpointError::file(&config.file, "tokens that can be added", error))
}
