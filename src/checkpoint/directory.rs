//! A whole checkpoint: the configuration, the text side, and tensors that are handed out one by one once they are checked.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::chat::ChatTemplate;
use super::config::{ModelConfig, Told};
use super::converted;
use super::error::{CheckpointError, Excerpt, Faults};
use super::generation::GenerationConfig;
use super::head;
use super::json::{self, Fields};
use super::names::{EMBEDDING, HEAD, TensorNames, unwrapped};
use super::safetensors;
use super::source::{Source, is_plain_name};
use super::tensor::Tensor;
use super::tokenizer::Tokenizer;

pub(super) const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// What is trained on top of a model and kept beside it.
const ADAPTER: &str = "adapter_config.json";
/// A thousand layers' names take three.
const LARGEST_INDEX: u64 = 16 << 20;

/// An opened checkpoint. Weights are mapped, not read; [`Checkpoint::take`] checks them.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model's dimensions.
    pub config: ModelConfig,
    /// What its makers sample with.
    pub generation: GenerationConfig,
    /// `None` where there is no `tokenizer.json`.
    pub tokenizer: Option<Tokenizer>,
    /// `None` where no file has one.
    pub chat_template: Option<ChatTemplate>,
    /// What messages name for a tensor that no file has.
    weights: PathBuf,
    names: TensorNames,
    /// By full name; those of the vision tower and the `mtp` head are left out.
    tensors: BTreeMap<String, Entry>,
    taken: BTreeSet<String>,
    /// Whether a head is stored where `config.json` says that the embedding is the head.
    head_was_untied: bool,
}

impl Checkpoint {
    /// Opens a directory in Hugging Face form, or a converted one: one with a `quantize_index.json`.
    ///
    /// # Errors
    /// If a file is missing, unreadable or malformed, or asks for what is not implemented.
    pub fn open(directory: &Path) -> Result<Self, CheckpointError> {
        Self::load(existing(directory)?)
    }

    /// Opens a directory for its weights only: its text side is neither read nor checked, and `None`.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_weights(directory: &Path) -> Result<Self, CheckpointError> {
        Self::load_weights(existing(directory)?)
    }

    /// Opens files that are in memory, for example compiled into the program, with the same checks. `name` stands for
    /// their directory in messages. Tensors that do not lie at an aligned address are copied when they are taken.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(name: &str, files: &[(&str, Bytes)]) -> Result<Self, CheckpointError> {
        Self::load(Source::Embedded { name, files })
    }

    fn load(source: Source<'_>) -> Result<Self, CheckpointError> {
        let weights = Self::load_weights(source)?;
        let tokenizer = Tokenizer::load(source, weights.config.vocab_size)?;
        let chat_template = ChatTemplate::load(source)?;
        Ok(Self { tokenizer, chat_template, ..weights })
    }

    fn load_weights(source: Source<'_>) -> Result<Self, CheckpointError> {
        let Told { mut config, mut warnings } = ModelConfig::load(source, CONFIG)?;
        let generation = GenerationConfig::load(source, config.vocab_size)?;
        let found = Found::read(source, config.rotation_seed, &mut Err)?;
        let names = found.names(&config, &mut Err)?;
        let untied = head::untie(&mut config, &names, &found.tensors);
        let head_was_untied = untied.is_some();
        warnings.extend(untied);
        warnings.extend(unused_adapter(source));
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

        let Found { file: weights, mut tensors, .. } = found;
        leave_out_other_models(&mut tensors);
        let head = names.full(HEAD);
        if config.tie_word_embeddings && head != names.full(EMBEDDING) && tensors.remove(&head).is_some() {
            tracing::debug!("{head} is left out: the embedding is the head");
        }
        let (tokenizer, chat_template, taken) = (None, None, BTreeSet::new());
        Ok(Self { config, generation, tokenizer, chat_template, weights, names, tensors, taken, head_was_untied })
    }

    /// What the files call the tensors.
    pub(crate) fn names(&self) -> &TensorNames {
        &self.names
    }

    /// Whether a head is stored where `config.json` says that the embedding is the head, and
    /// `config.tie_word_embeddings` does not.
    pub(crate) fn head_was_untied(&self) -> bool {
        self.head_was_untied
    }

    /// What ends a text: `generation_config.json`'s tokens, else `config.json`'s.
    #[must_use]
    pub fn eos_token_ids(&self) -> &[u32] {
        self.generation.eos_token_ids.as_deref().unwrap_or(&self.config.eos_token_ids)
    }

    /// Hands out a tensor by its name in the text model, e.g. `layers.0.mlp.up_proj.weight` or `lm_head.weight`. All its
    /// elements are looked at.
    ///
    /// # Errors
    /// If there is no such tensor, its shape is not `shape`, its element type is none we read, or an element is not finite.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        self.entry(name, shape)?.tensor(shape)
    }

    /// What is known of a tensor, which counts as taken from now on.
    pub(super) fn entry(&mut self, name: &str, shape: &[usize]) -> Result<&Entry, CheckpointError> {
        let full = self.names.full(name);
        let Some(entry) = self.tensors.get(&full) else { return Err(no_such_tensor(&self.weights, &full, shape)) };
        self.taken.insert(full);
        Ok(entry)
    }

    /// Full names of the tensors that nobody has taken.
    pub fn left_over(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str).filter(|name| !self.taken.contains(*name))
    }

    /// Warns of tensors that nobody took, once all are: a model that has more than we use may be another model.
    pub fn warn_of_left_over(&self) {
        const NAMED: usize = 5;
        let count = self.left_over().count();
        if count > 0 {
            let names: Vec<String> = self.left_over().take(NAMED).map(|name| Excerpt(name).to_string()).collect();
            let more = if count > NAMED { ", …" } else { "" };
            let file = self.weights.display();
            tracing::warn!("{file}: {count} tensors have no place in the model: {}{more}", names.join(", "));
        }
    }
}

pub(super) fn no_such_tensor(file: &Path, full: &str, shape: &[usize]) -> CheckpointError {
    CheckpointError::tensor(file, full, format!("shape {shape:?}"), "no such tensor")
}

/// Tells of an adapter, which programs that know them add to the weights when they load them.
pub(super) fn unused_adapter(source: Source<'_>) -> Option<CheckpointError> {
    let told = || CheckpointError::file(&source.path(ADAPTER), "no adapter, since none is applied", "one");
    source.has(ADAPTER).then(told)
}

/// The source that `directory` is, if it is a directory.
pub(super) fn existing(directory: &Path) -> Result<Source<'_>, CheckpointError> {
    let metadata = fs::metadata(directory).map_err(|source| CheckpointError::Io {
        file: directory.into(),
        action: "open",
        source,
    })?;
    if !metadata.is_dir() {
        return Err(CheckpointError::file(directory, "a checkpoint's directory", "a file"));
    }
    Ok(Source::Directory(directory))
}

/// A tensor in one of the forms that checkpoints have.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    InShard(safetensors::Entry),
    Converted(converted::Entry),
}

impl Entry {
    /// The file it lies in.
    pub(super) fn file(&self) -> &Path {
        match self {
            Self::InShard(entry) => &entry.file,
            Self::Converted(entry) => &entry.place.path,
        }
    }

    /// The tensor as it is stored. Nobody has looked at its values.
    pub(super) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        match self {
            Self::InShard(entry) => entry.unchecked(),
            Self::Converted(entry) => entry.unchecked(),
        }
    }

    fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        match self {
            Self::InShard(entry) => entry.tensor(shape),
            Self::Converted(entry) => entry.tensor(shape),
        }
    }
}

/// All tensors of a checkpoint by full name.
#[derive(Debug)]
pub(super) struct Found {
    /// The file that says which there are.
    pub(super) file: PathBuf,
    pub(super) tensors: BTreeMap<String, Entry>,
    /// Those of which nothing is known, because the files they should be in could not be read.
    pub(super) unread: BTreeSet<String>,
}

impl Found {
    /// Looks for them in all forms that checkpoints have. `rotation_seed` is the configuration's.
    pub(super) fn read(
        source: Source<'_>,
        rotation_seed: Option<u64>,
        faults: Faults<'_>,
    ) -> Result<Self, CheckpointError> {
        let Some(entries) = converted::read(source, rotation_seed, faults)? else {
            return Self::shards(source, faults);
        };
        let file = source.path(converted::INDEX);
        for other in [SINGLE, INDEX] {
            if source.has(other) {
                let found = format!("{other} as well: which are meant?");
                let expected = "no other weights beside the converted ones";
                faults(CheckpointError::file(&file, expected, found))?;
            }
        }
        let tensors = entries.into_iter().map(|entry| (entry.name.clone(), Entry::Converted(entry))).collect();
        Ok(Self { file, tensors, unread: BTreeSet::new() })
    }

    /// What they are called, if they are those of `config`'s model.
    pub(super) fn names(&self, config: &ModelConfig, faults: Faults<'_>) -> Result<TensorNames, CheckpointError> {
        let names = self.tensors.keys().map(String::as_str);
        TensorNames::find(&self.file, config.layout, config.tie_word_embeddings, names, faults)
    }

    /// Those in safetensors files.
    fn shards(source: Source<'_>, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        let single = source.path(SINGLE);
        let mut tensors = BTreeMap::new();
        let mut unread = BTreeSet::new();
        let in_shards = |tensors: BTreeMap<String, safetensors::Entry>| {
            tensors.into_iter().map(|(name, entry)| (name, Entry::InShard(entry))).collect()
        };
        if let Some(bytes) = source.map(SINGLE)? {
            add_shard(&mut tensors, safetensors::read(&single, &bytes, faults)?, faults)?;
            return Ok(Self { file: single, tensors: in_shards(tensors), unread });
        }
        let Some(text) = source.text(INDEX, LARGEST_INDEX)? else {
            let expected = format!("the weights here, in {INDEX} or in {}", converted::INDEX);
            return Err(CheckpointError::file(&single, expected, "no such file"));
        };
        let index = source.path(INDEX);
        let value = json::parse(&index, &text)?;
        let root = Fields::of(&index, &value)?;
        let map = root.object("weight_map")?.ok_or_else(|| root.error("weight_map", "an object"))?;
        let mut promised = Vec::new();
        for (name, _) in map.entries() {
            match shard_name(map, name) {
                Ok(shard) => promised.push((name, shard)),
                Err(error) => {
                    faults(error)?;
                    unread.insert(name.to_owned());
                }
            }
        }
        let mut unread_shards = BTreeSet::new();
        for shard in promised.iter().map(|&(_, shard)| shard).collect::<BTreeSet<_>>() {
            if let Err(error) = read_shard(source, shard, &mut tensors, faults) {
                faults(error)?;
                unread_shards.insert(shard);
            }
        }
        for (name, shard) in promised {
            let (file, expected) = (source.path(shard), format!("it here, as {INDEX} says"));
            match tensors.get(name) {
                Some(entry) if entry.file == file => {}
                Some(entry) => {
                    let found = format!("it in {}", entry.file.display());
                    faults(CheckpointError::tensor(&file, name, expected, found))?;
                }
                None if unread_shards.contains(shard) => _ = unread.insert(name.to_owned()),
                None => faults(CheckpointError::tensor(&file, name, expected, "no such tensor"))?,
            }
        }
        Ok(Self { file: index, tensors: in_shards(tensors), unread })
    }
}

fn read_shard(
    source: Source<'_>,
    shard: &str,
    tensors: &mut BTreeMap<String, safetensors::Entry>,
    faults: Faults<'_>,
) -> Result<(), CheckpointError> {
    let Some(bytes) = source.map(shard)? else {
        let expected = format!("the shard that {INDEX} names");
        return Err(CheckpointError::file(&source.path(shard), expected, "no such file"));
    };
    add_shard(tensors, safetensors::read(&source.path(shard), &bytes, faults)?, faults)
}

/// The file name an index gives for a tensor; anything that would lead out of the directory is refused.
fn shard_name<'a>(map: Fields<'a>, tensor: &str) -> Result<&'a str, CheckpointError> {
    let name = map.text(tensor)?.unwrap_or_default();
    if is_plain_name(name) { Ok(name) } else { Err(map.error(tensor, "the name of a file in the same directory")) }
}

fn add_shard(
    tensors: &mut BTreeMap<String, safetensors::Entry>,
    shard: Vec<safetensors::Entry>,
    faults: Faults<'_>,
) -> Result<(), CheckpointError> {
    for entry in shard {
        if let Some(other) = tensors.get(&entry.name) {
            let found = format!("it in {} as well", other.file.display());
            faults(CheckpointError::tensor(&entry.file, &entry.name, "it in one shard", found))?;
            continue;
        }
        tensors.insert(entry.name.clone(), entry);
    }
    Ok(())
}

/// A model beside the text model, which we do not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherModel {
    /// What sees.
    VisionTower,
    /// What predicts several tokens at once, `mtp`.
    MultiTokenHead,
}

impl OtherModel {
    /// That of the tensor with this full name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match unwrapped(name) {
            name if name.starts_with("visual.") => Some(Self::VisionTower),
            name if name.starts_with("mtp.") => Some(Self::MultiTokenHead),
            _ => None,
        }
    }
}

/// Drops what belongs to models we do not run, and says so once.
fn leave_out_other_models(tensors: &mut BTreeMap<String, Entry>) {
    let all = tensors.len();
    tensors.retain(|name, _| OtherModel::of(name).is_none());
    let left_out = all - tensors.len();
    if left_out > 0 {
        tracing::info!("{left_out} tensors of the vision tower and the multi-token head are left out");
    }
}
