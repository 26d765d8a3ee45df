//! Checkpoints in one file, or a few, as llama.cpp has them: metadata, then tensors, whose names, orders and meanings its
//! converter has changed.
//!
//! What a file says of its model and its vocabulary becomes the texts of the files that the makers of the model would
//! have published, which the same readers read as everywhere; what was changed in tensors is undone here, or told.

#![forbid(unsafe_code)]

mod config;
mod cursor;
mod entry;
mod family;
mod header;
mod keys;
mod metadata;
mod order;
mod parts;
mod rope;
mod splits;
mod tensors;
mod tokenizer;
mod types;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use config::ValueHeads;
pub(in crate::checkpoint) use entry::Entry;
pub(in crate::checkpoint) use family::Family;
use keys::Keys;
use metadata::Metadata;
pub(super) use order::Transposed;
use parts::Parts;
pub(super) use parts::{is_later_part, names_of_parts};
use tensors::Info;
use tokenizer::Vocabulary;

use super::error::{CheckpointError, Faults};
use super::source::Source;

/// How the names of files end that are known to be such.
pub(super) const EXTENSION: &str = "gguf";
/// Under which a file has the template that is meant where none is named.
const TEMPLATE: &str = "tokenizer.chat_template";

/// What the first bytes of a file say that it is, if that is not a GGUF file.
pub(super) fn other_kind(bytes: &[u8]) -> Option<String> {
    (!bytes.starts_with(header::MAGIC)).then(|| header::kind(bytes))
}

/// A file, or the files of a model that is split, whose tensors are known to lie in them.
#[derive(Clone, Debug)]
pub(super) struct Gguf {
    files: Vec<PathBuf>,
    metadata: Metadata,
    /// `None` where the file has none, or one that had to be told of.
    vocabulary: Option<Vocabulary>,
    family: Family,
    infos: Vec<Info>,
    unread: BTreeSet<String>,
    is_partial: bool,
    /// Whether value heads stay in the order of the converter.
    is_tiled: bool,
}

/// All tensors by their published names.
pub(super) struct Tensors {
    pub(super) tensors: BTreeMap<String, Entry>,
    /// Those of which nothing is known, because they could not be read.
    pub(super) unread: BTreeSet<String>,
    /// Whether there may be more of those, with names that nobody knows.
    pub(super) is_partial: bool,
}

impl Gguf {
    /// Opens the file `name` in `directory`, and those that belong to it.
    pub(super) fn open(directory: Source<'_>, name: &str, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        let Parts { files, metadata, infos, unread, is_partial } = Parts::read(directory, name, faults)?;
        let family = keys::family(&metadata)?;
        let vocabulary = match Vocabulary::read(&metadata) {
            Ok(vocabulary) => vocabulary,
            Err(fault) => {
                faults(fault)?;
                None
            }
        };
        let gguf = Self { files, metadata, vocabulary, family, infos, unread, is_partial, is_tiled: false };
        keys::refuse_head_alone(gguf.keys(), &gguf.infos)?;
        Ok(Self { is_tiled: gguf.cuts_blocks(), ..gguf })
    }

    /// The file that messages name: the first one, which has the metadata.
    pub(super) fn file(&self) -> &Path {
        self.metadata.file()
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Every key and its value in a message's words.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&str, String)> {
        self.metadata.described()
    }

    /// What the makers of the model would have published under this name; `None` for what they would not have.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>, CheckpointError> {
        match file {
            "config.json" => config::text(self.keys(), &self.infos, &self.end_tokens()?, self.is_tiled).map(Some),
            "generation_config.json" if self.vocabulary.is_some() => {
                let config = Map::from_iter([("eos_token_id".to_owned(), Value::from(self.end_tokens()?))]);
                Ok(Some(format!("{:#}\n", Value::Object(config))))
            }
            "tokenizer.json" => self.vocabulary.as_ref().map(Vocabulary::text).transpose(),
            "tokenizer_config.json" => self.vocabulary.as_ref().map(Vocabulary::config).transpose(),
            "chat_template.jinja" => {
                let template = self.metadata.text(TEMPLATE)?.filter(|template| !template.is_empty());
                Ok(template.map(str::to_owned))
            }
            _ => Ok(None),
        }
    }

    /// All tensors by their published names, without those that `faults` had to be told of.
    pub(super) fn tensors(&self, faults: Faults<'_>) -> Result<Tensors, CheckpointError> {
        let layers = self.keys().layers().ok().and_then(|layers| usize::try_from(layers).ok()).unwrap_or(usize::MAX);
        let published = |name: &str| self.family.published(name, layers);
        let mut tensors = BTreeMap::new();
        for info in self.infos.iter().filter(|info| info.name != rope::DIVISORS) {
            let Some(name) = published(&info.name) else {
                let expected = format!("only tensors with a place in a model of {}", self.family.word());
                faults(CheckpointError::tensor(&info.file, &info.name, expected, "one without"))?;
                tensors.insert(info.name.clone(), Entry::new(info.clone(), info.shape.clone(), None));
                continue;
            };
            let (shape, order) = (published_shape(&name, &info.shape), self.order(&name, info));
            tensors.insert(name, Entry::new(info.clone(), shape, order));
        }
        let unread = self.unread.iter().map(|name| published(name).unwrap_or_else(|| name.clone())).collect();
        Ok(Tensors { tensors, unread, is_partial: self.is_partial })
    }

    fn end_tokens(&self) -> Result<Vec<u32>, CheckpointError> {
        self.vocabulary.as_ref().map_or(Ok(Vec::new()), Vocabulary::end_tokens)
    }

    fn keys(&self) -> Keys<'_> {
        Keys { family: self.family, metadata: &self.metadata }
    }

    /// In which order the converter has put the parts of a tensor. Where the dimensions are not known or do not fit, the
    /// tensor is refused for its shape.
    fn order(&self, name: &str, info: &Info) -> Option<Transposed> {
        let within = name.strip_prefix("model.layers.")?.split_once('.')?.1;
        match self.family {
            Family::Llama => self.order_of_pairs(within, info),
            family if family.has_delta_nets() && !self.is_tiled => self.order_of_heads(within, info),
            _ => None,
        }
    }

    /// Whether the columns of a value head are parts of blocks, which cannot be put elsewhere: so it is with blocks of 256
    /// and heads of 128. Then all heads stay where they are.
    fn cuts_blocks(&self) -> bool {
        self.family.has_delta_nets()
            && self.infos.iter().filter(|info| info.name.ends_with(".ssm_out.weight")).any(|info| {
                let order = self.order_of_heads("linear_attn.out_proj.weight", info);
                order.is_some_and(|order| order.in_bytes(info.kind).is_none())
            })
    }

    /// Llama's queries and keys: within each head, neighbours are turned rather than halves.
    fn order_of_pairs(&self, within: &str, info: &Info) -> Option<Transposed> {
        let count = |key: &str| self.keys().of_all_layers(key).ok().flatten();
        let heads = match within {
            "self_attn.q_proj.weight" => count("attention.head_count"),
            "self_attn.k_proj.weight" => count("attention.head_count_kv").or_else(|| count("attention.head_count")),
            _ => None,
        };
        let heads = usize::try_from(heads?).ok()?;
        let &[rows, width] = info.shape.as_slice() else { return None };
        let head_dim =
            rows.checked_div(heads).filter(|head_dim| head_dim * heads == rows && head_dim.is_multiple_of(2))?;
        Transposed::new(0, 2, head_dim / 2, width, rows * width)
    }

    /// Whatever a delta net has for each value head: those of the same key head are not neighbours.
    fn order_of_heads(&self, within: &str, info: &Info) -> Option<Transposed> {
        let ValueHeads { key_heads, value_heads, width } = ValueHeads::of(self.keys()).ok()?;
        let size = |number: u64| usize::try_from(number).ok();
        let (rows, columns) = (size(key_heads)?, size(value_heads.checked_div(key_heads)?)?);
        let head_width = size(width)?;
        let values = rows.checked_mul(columns)?.checked_mul(head_width)?;
        let row = match info.shape.as_slice() {
            [_, rest @ ..] => rest.iter().product::<usize>(),
            [] => return None,
        };
        let len = info.shape.iter().product();
        let of_rows = |of_head: usize, skip: usize| {
            Transposed::new(skip.checked_mul(row)?, rows, columns, of_head.checked_mul(row)?, len)
        };
        match within {
            "linear_attn.in_proj_qkv.weight" | "linear_attn.conv1d.weight" => {
                of_rows(head_width, info.shape.first()?.checked_sub(values)?)
            }
            "linear_attn.in_proj_z.weight" => of_rows(head_width, 0),
            "linear_attn.in_proj_b.weight"
            | "linear_attn.in_proj_a.weight"
            | "linear_attn.A_log"
            | "linear_attn.dt_bias" => of_rows(1, 0),
            "linear_attn.out_proj.weight" => Transposed::new(0, rows, columns, head_width, len),
            _ => None,
        }
    }
}

/// The dimensions that a tensor was published with: files leave out some that are 1.
fn published_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    match shape {
        &[channels, kernel] if name.ends_with("linear_attn.conv1d.weight") => vec![channels, 1, kernel],
        &[width] if name.ends_with(family::SHARED_GATE) => vec![1, width],
        shape => shape.to_vec(),
    }
}
