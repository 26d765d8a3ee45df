//! The vocabulary of a file, as the `tokenizer.json` that its makers would have published with it: one of byte-level
//! pairs, as GPT-2's.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::metadata::Metadata;
use super::splits::Splits;
use crate::checkpoint::error::{CheckpointError, Excerpt};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const MODEL: &str = "tokenizer.ggml.model";
const SPLITS: &str = "tokenizer.ggml.pre";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const ADDS_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADDS_EOS: &str = "tokenizer.ggml.add_eos_token";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
/// Further ids that end a text; files of some models have them.
const ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// Tokens that end a text or a turn wherever a vocabulary has them, whatever its file says: it has room for one id only.
const END_NAMES: [&str; 5] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"];

/// What `token_type` says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenType {
    Normal,
    /// Matched in a text before it is split, and not shown.
    Control,
    /// Matched in a text before it is split, and shown.
    UserDefined,
    /// A row of the model that no token has.
    Unused,
}

/// A vocabulary whose parts are known to fit each other.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    metadata: Metadata,
    tokens: Vec<String>,
    types: Vec<TokenType>,
}

impl Vocabulary {
    /// `None` where the file has none.
    pub(super) fn read(metadata: &Metadata) -> Result<Option<Self>, CheckpointError> {
        match metadata.text(MODEL)? {
            None if !metadata.has(TOKENS) => return Ok(None),
            Some("none" | "no_vocab") => return Ok(None),
            Some("gpt2") => {}
            _ => return Err(metadata.error(MODEL, "\"gpt2\", pairs of bytes (nothing else is implemented)")),
        }
        let tokens = metadata.texts(TOKENS)?.ok_or_else(|| metadata.error(TOKENS, "an array of strings in UTF-8"))?;
        let types = types(metadata, tokens.len())?;
        let tokens = tokens.into_iter().map(str::to_owned).collect();
        Ok(Some(Self { metadata: metadata.clone(), tokens, types }))
    }

    /// The token that a key names by its id.
    fn named(&self, key: &str) -> Result<Option<(u32, &str)>, CheckpointError> {
        let Some(id) = self.metadata.integer(key)? else { return Ok(None) };
        let found = usize::try_from(id).ok().and_then(|index| self.tokens.get(index)).zip(u32::try_from(id).ok());
        let found = found.map(|(token, id)| (id, token.as_str()));
        let expected = || format!("an id below {}, the number of tokens", self.tokens.len());
        found.map(Some).ok_or_else(|| self.metadata.error(key, expected()))
    }

    /// Ids that end a text, the file's own first.
    pub(super) fn end_tokens(&self) -> Result<Vec<u32>, CheckpointError> {
        let mut ends = Vec::new();
        for key in [EOS].into_iter().chain(ENDS) {
            ends.extend(self.named(key)?.map(|(id, _)| id));
        }
        let named = self.tokens.iter().zip(&self.types).zip(0..).filter(|((token, kind), _)| {
            matches!(kind, TokenType::Control | TokenType::UserDefined) && END_NAMES.contains(&token.as_str())
        });
        ends.extend(named.map(|(_, id)| id));
        let mut seen = std::collections::HashSet::new();
        ends.retain(|id| seen.insert(*id));
        Ok(ends)
    }

    /// The text of a `tokenizer_config.json` that names the tokens that begin and end texts.
    pub(super) fn config(&self) -> Result<String, CheckpointError> {
        let mut config = Map::new();
        for (field, key) in [("bos_token", BOS), ("eos_token", EOS)] {
            config.extend(self.named(key)?.map(|(_, token)| (field.to_owned(), token.into())));
        }
        Ok(format!("{:#}\n", Value::Object(config)))
    }

    /// The text of a `tokenizer.json`.
    pub(super) fn text(&self) -> Result<String, CheckpointError> {
        let splits = self.splits()?;
        let mut vocabulary = Map::new();
        let mut added = Vec::new();
        let mut ids = HashMap::new();
        for (id, (token, &kind)) in self.tokens.iter().zip(&self.types).enumerate() {
            if kind == TokenType::Unused {
                continue;
            }
            if let Some(other) = ids.insert(token.as_str(), id) {
                let found = format!("{} as token {other} and as token {id}", Excerpt(token));
                return Err(CheckpointError::field(self.metadata.file(), TOKENS, "every token once", found));
            }
            vocabulary.insert(token.clone(), id.into());
            if kind != TokenType::Normal {
                added.push(json!({
                    "id": id,
                    "content": token,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": kind == TokenType::Control,
                }));
            }
        }
        let merges = self.merges(&ids)?;
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": if splits.normalizes() { json!({"type": "NFC"}) } else { Value::Null },
            "pre_tokenizer": splits.pre_tokenizer(),
            "post_processor": self.post_processor(splits)?,
            "decoder": byte_level(),
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": splits.ignores_merges(),
                "vocab": vocabulary,
                "merges": merges,
            },
        });
        Ok(tokenizer.to_string())
    }

    fn splits(&self) -> Result<Splits, CheckpointError> {
        let name = self.metadata.text(SPLITS)?;
        let known = Splits::NAMES.into_iter().find(|(known, _)| Some(*known) == name);
        known.map(|(_, splits)| splits).ok_or_else(|| {
            let names = Splits::NAMES.map(|(name, _)| format!("\"{name}\""));
            self.metadata.error(SPLITS, format!("{} (nothing else is implemented)", names.join(" or ")))
        })
    }

    /// Pairs of pieces, each of which is a token, as what they become is.
    fn merges(&self, ids: &HashMap<&str, usize>) -> Result<Vec<Value>, CheckpointError> {
        let merges = self.metadata.texts(MERGES)?;
        let merges = merges.ok_or_else(|| self.metadata.error(MERGES, "an array of strings in UTF-8"))?;
        let pair = |(index, merge): (usize, &&str)| {
            let pieces = merge.split_once(' ').filter(|(left, right)| {
                ids.contains_key(left) && ids.contains_key(right) && ids.contains_key(&*format!("{left}{right}"))
            });
            pieces.map(|(left, right)| json!([left, right])).ok_or_else(|| {
                let found = format!("{} at index {index}", Excerpt(merge));
                let expected = "two tokens with a space between them, which are one token together";
                CheckpointError::field(self.metadata.file(), MERGES, expected, found)
            })
        };
        merges.iter().enumerate().map(pair).collect()
    }

    /// What puts a token in front of a text, if anything does.
    fn post_processor(&self, splits: Splits) -> Result<Value, CheckpointError> {
        if self.metadata.flag(ADDS_EOS)? == Some(true) {
            return Err(self.metadata.error(ADDS_EOS, "false: a prompt must not end where the text does"));
        }
        if !self.metadata.flag(ADDS_BOS)?.unwrap_or(splits.adds_bos()) {
            return Ok(byte_level());
        }
        let bos = self.named(BOS)?;
        let (id, token) = bos.ok_or_else(|| self.metadata.error(BOS, "the token that begins every text"))?;
        let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let template = json!({
            "type": "TemplateProcessing",
            "single": [special, sequence("A")],
            "pair": [special, sequence("A"), sequence("B")],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
        });
        Ok(json!({"type": "Sequence", "processors": [byte_level(), template]}))
    }
}

fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})
}

fn types(metadata: &Metadata, tokens: usize) -> Result<Vec<TokenType>, CheckpointError> {
    let Some(types) = metadata.integers(TYPES)? else { return Ok(vec![TokenType::Normal; tokens]) };
    if types.len() != tokens {
        return Err(metadata.error(TYPES, format!("as many as there are tokens, {tokens}")));
    }
    let read = |(index, number)| match number {
        1 => Ok(TokenType::Normal),
        // What stands for unknown text is matched in a text like any other control token.
        2 | 3 => Ok(TokenType::Control),
        4 => Ok(TokenType::UserDefined),
        5 => Ok(TokenType::Unused),
        _ => {
            let expected = "a type from 1 to 5 for every token of byte-level pairs";
            Err(CheckpointError::field(metadata.file(), TYPES, expected, format!("{number} for token {index}")))
        }
    };
    types.into_iter().enumerate().map(read).collect()
}
