//! A whole checkpoint: the configuration, the text side, and tensors that are handed out one by one once they are checked.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::chat::ChatTemplate;
use super::config::{ModelConfig, Told};
use super::error::{CheckpointError, Excerpt};
use super::found::{Entry, Found, find, no_such_tensor};
use super::generation::GenerationConfig;
use super::head;
use super::location::Location;
use super::mtp;
use super::names::{EMBEDDING, HEAD, OtherModel, TensorNames};
use super::source::Source;
use super::tensor::Tensor;
use super::tokenizer::Tokenizer;
use super::tokenizer_config::TokenizerConfig;

pub(super) const CONFIG: &str = "config.json";
/// What is trained on top of a model and kept beside it.
const ADAPTER: &str = "adapter_config.json";
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
    /// By full name; those of the vision tower are left out, and those of a head that predicts several tokens if we do not read it.
    tensors: BTreeMap<String, Entry>,
    taken: BTreeSet<String>,
    /// Whether a head is stored where `config.json` says that the embedding is the head.
    head_was_untied: bool,
    /// Whether small tensors are what is computed with.
    is_applied: bool,
}

impl Checkpoint {
    /// Opens a directory in Hugging Face form, or a converted one: one with a `quantize_index.json`. Or a GGUF file; of a
    /// model in several such files, any of them.
    ///
    /// # Errors
    /// If a file is missing, unreadable or malformed, or asks for what is not implemented.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::load(Location::open(path, &mut Err)?.source())
    }

    /// Opens a directory or a GGUF file for its weights only: its text side is neither read nor checked, and `None`.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_weights(path: &Path) -> Result<Self, CheckpointError> {
        Self::load_weights(Location::open(path, &mut Err)?.source())
    }

    /// Opens files that are in memory, for example compiled into the program, with the same checks. `name` stands for
    /// their directory in messages. Tensors that do not lie at an aligned address are copied when they are taken.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(name: &str, files: &[(&str, Bytes)]) -> Result<Self, CheckpointError> {
        Self::load(Location::in_memory(name, files)?.source())
    }

    fn load(source: Source<'_>) -> Result<Self, CheckpointError> {
        let weights = Self::load_weights(source)?;
        let tokenizer_config = TokenizerConfig::load(source)?;
        let tokenizer = Tokenizer::load(source, &tokenizer_config, weights.config.vocab_size)?;
        let chat_template = ChatTemplate::load(source, &tokenizer_config)?;
        Ok(Self { tokenizer, chat_template, ..weights })
    }

    fn load_weights(source: Source<'_>) -> Result<Self, CheckpointError> {
        let Told { mut config, mut warnings } = ModelConfig::load(source, CONFIG)?;
        let (generation, unused) = GenerationConfig::load(source, config.vocab_size)?;
        warnings.extend(unused);
        let found = Found::read(source, config.rotation_seed, &mut Err)?;
        let names = found.names(&config, &mut Err)?;
        let untied = head::untie(&mut config, &names, &found.tensors);
        let head_was_untied = untied.is_some();
        warnings.extend(untied);
        warnings.extend(mtp::settle(&mut config, &found.tensors));
        warnings.extend(unused_adapter(source));
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

        let Found { file: weights, mut tensors, family, .. } = found;
        leave_out_other_models(&config, &mut tensors);
        let head = names.full(HEAD);
        if config.tie_word_embeddings && head != names.full(EMBEDDING) && tensors.remove(&head).is_some() {
            tracing::debug!("{head} is left out: the embedding is the head");
        }
        Ok(Self {
            config,
            generation,
            tokenizer: None,
            chat_template: None,
            weights,
            names,
            tensors,
            taken: BTreeSet::new(),
            head_was_untied,
            is_applied: family.is_some(),
        })
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

    /// Whether small tensors hold what is computed with, rather than what was published: a norm's weight with the one
    /// that is added to it, a rate of decay rather than its logarithm.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.is_applied
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

    /// Looks for a tensor that nobody is going to read, as [`Checkpoint::take`] does, but not at its elements. It counts as taken.
    pub(crate) fn pass_over(&mut self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let entry = self.entry(name, shape)?;
        if entry.shape() == shape {
            return Ok(());
        }
        let (expected, found) = (format!("shape {shape:?}"), format!("{:?}", entry.shape()));
        Err(CheckpointError::tensor(entry.file(), entry.name(), expected, found))
    }

    /// Why there is no head that predicts several tokens where one is wanted.
    pub(crate) fn no_mtp(&self) -> CheckpointError {
        let why = if self.config.rotation_seed.is_some() { " (a QuaRot conversion leaves it out)" } else { "" };
        let expected = "a head that predicts several tokens, in tensors mtp.*";
        CheckpointError::file(&self.weights, expected, format!("none that is read{why}"))
    }

    /// What is known of a tensor, which counts as taken from now on.
    pub(super) fn entry(&mut self, name: &str, shape: &[usize]) -> Result<Entry, CheckpointError> {
        let full = self.names.full(name);
        let Some((found, entry)) = find(&self.tensors, &full, Some(&self.config)) else {
            return Err(no_such_tensor(&self.weights, &self.names.shown(&full), shape));
        };
        self.taken.insert(found);
        entry
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

/// Tells of an adapter, which programs that know them add to the weights when they load them.
pub(super) fn unused_adapter(source: Source<'_>) -> Option<CheckpointError> {
    let told = || CheckpointError::file(&source.path(ADAPTER), "no adapter, since none is applied", "one");
    source.has(ADAPTER).then(told)
}

/// Drops what belongs to models we do not run, and says so once.
fn leave_out_other_models(config: &ModelConfig, tensors: &mut BTreeMap<String, Entry>) {
    let all = tensors.len();
    tensors.retain(|name, _| match OtherModel::of(name) {
        None => true,
        Some(OtherModel::VisionTower) => false,
        Some(OtherModel::MultiTokenHead) => config.mtp,
    });
    let left_out = all - tensors.len();
    if left_out > 0 {
        tracing::info!("{left_out} tensors of the vision tower, or of a multi-token head, are left out");
    }
}
