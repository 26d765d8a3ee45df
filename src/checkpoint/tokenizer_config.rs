//! `tokenizer_config.json`: the tokens it adds to those of `tokenizer.json`, which of them are special, and perhaps a
//! chat template.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::AddedToken;

use super::error::{CheckpointError, Excerpt};
use super::json::{self, Fields, describe};
use super::source::Source;

const FILE: &str = "tokenizer_config.json";
/// Lists every added token; published ones take some tens of kilobytes.
const LARGEST: u64 = 16 << 20;
const ADDED: &str = "added_tokens_decoder";
/// The names that every tokenizer of transformers has, in its order.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Where tokens without such a name are listed, now and formerly.
const EXTRA: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// What the file says of tokens.
#[derive(Debug, Default)]
pub(super) struct TokenizerConfig {
    pub(super) file: PathBuf,
    /// `added_tokens_decoder`, ordered by id.
    pub(super) added: Vec<(u32, AddedToken)>,
    /// Tokens that it calls special elsewhere, each with the field that does.
    pub(super) special: Vec<(String, AddedToken)>,
    /// All of it.
    root: Value,
}

impl TokenizerConfig {
    /// Reads the file if there is one.
    pub(super) fn load(source: Source<'_>) -> Result<Self, CheckpointError> {
        let file = source.path(FILE);
        let Some(text) = source.text(FILE, LARGEST)? else { return Ok(Self { file, ..Self::default() }) };
        let root = json::parse(&file, &text)?;
        let fields = Fields::of(&file, &root)?;
        let (added, special) = (added_tokens(&file, fields)?, special_tokens(&file, fields)?);
        Ok(Self { added, special, root, file })
    }

    /// The text of each token that has a name which every tokenizer has, such as `eos_token`.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.special.iter().map(|(name, token)| (name.as_str(), token.content.as_str()));
        named.filter(|(name, _)| NAMES.contains(name))
    }

    /// The chat template in the file: a string, or the one of a list that is named `default`.
    pub(super) fn chat_template(&self) -> Result<Option<&str>, CheckpointError> {
        const FIELD: &str = "chat_template";
        let error =
            |expected: &str| CheckpointError::field(&self.file, FIELD, expected, describe(self.root.get(FIELD)));
        let templates = match self.root.get(FIELD) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => return Ok(Some(text)),
            Some(Value::Array(templates)) => templates,
            Some(_) => return Err(error("a string or an array of templates")),
        };
        let default = templates.iter().find(|template| template["name"] == "default");
        let text = default.and_then(|template| template["template"].as_str());
        text.map(Some).ok_or_else(|| error("a template with the name \"default\""))
    }

    /// The path of a token's entry in the file, as messages show it.
    pub(super) fn field_of(id: u32) -> String {
        format!("{ADDED}.{id}")
    }
}

fn added_tokens(file: &Path, fields: Fields<'_>) -> Result<Vec<(u32, AddedToken)>, CheckpointError> {
    let mut added = Vec::new();
    let entries = fields.object(ADDED)?;
    for (name, value) in entries.iter().flat_map(Fields::entries) {
        let path = format!("{ADDED}.{name}");
        let id =
            name.parse().map_err(|_| fields.error_found(ADDED, "token ids for names", Excerpt(name).to_string()))?;
        added.push((id, described_token(Fields::nested(file, &path, value)?)?));
    }
    added.sort_by_key(|(id, _)| *id);
    match added.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        // JSON's names are unique, but `5` and `05` are the same id.
        Some(pair) => Err(fields.error_found(ADDED, "every id once", format!("{} twice", pair[0].0))),
        None => Ok(added),
    }
}

/// The tokens that every tokenizer may have, those that this kind has, and those without names.
fn special_tokens(file: &Path, fields: Fields<'_>) -> Result<Vec<(String, AddedToken)>, CheckpointError> {
    let mut special = Vec::new();
    let mut add = |name: &str, value: &Value| match value {
        Value::String(text) => {
            special.push((name.to_owned(), AddedToken::from(text.clone(), true)));
            Ok(())
        }
        Value::Object(_) => {
            let token = described_token(Fields::nested(file, name, value)?)?;
            special.push((name.to_owned(), token.special(true)));
            Ok(())
        }
        other => Err(CheckpointError::field(file, name, "a token", describe(Some(other)))),
    };
    for (name, value) in NAMES.into_iter().filter_map(|name| Some((name, fields.get(name)?))) {
        add(name, value)?;
    }
    // transformers takes whatever text is called so for the name of a token.
    let of_this_kind = |name: &str| name.ends_with("_token") && !NAMES.contains(&name);
    for (name, value) in fields.entries().filter(|(name, value)| of_this_kind(name) && value.is_string()) {
        add(name, value)?;
    }
    let extra = EXTRA.into_iter().find_map(|field| Some((field, fields.get(field)?)));
    match extra {
        None => {}
        Some((field, Value::Array(tokens))) => {
            for (index, token) in tokens.iter().enumerate() {
                add(&format!("{field}[{index}]"), token)?;
            }
        }
        Some((field, Value::Object(tokens))) => {
            for (name, token) in tokens {
                add(&format!("{field}.{name}"), token)?;
            }
        }
        Some((field, _)) => return Err(fields.error(field, "an array or an object of tokens")),
    }
    Ok(special)
}

/// A token that is described by an object, with the defaults of Python's `AddedToken`.
fn described_token(fields: Fields<'_>) -> Result<AddedToken, CheckpointError> {
    let flag = |name: &str| Ok::<bool, CheckpointError>(fields.flag(name)?.unwrap_or(false));
    let content = fields.text("content")?.ok_or_else(|| fields.error("content", "a string"))?;
    let special = flag("special")?;
    let token = AddedToken::from(content.to_owned(), special)
        .normalized(fields.flag("normalized")?.unwrap_or(!special))
        .single_word(flag("single_word")?)
        .lstrip(flag("lstrip")?)
        .rstrip(flag("rstrip")?);
    Ok(token)
}
