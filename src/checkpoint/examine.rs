//! All that can be wrong with a directory at once: the same checks that opening it makes, none of which ends the others.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::chat::{ChatOptions, ChatTemplate};
use super::chat_message::ChatMessage;
use super::config::{ModelConfig, Told};
use super::directory::{CONFIG, unused_adapter};
use super::error::CheckpointError;
use super::found::{Entry, Found, find, no_such_tensor};
use super::generation::GenerationConfig;
use super::gguf::Gguf;
use super::head;
use super::location::{Location, gguf_file};
use super::mtp;
use super::names::TensorNames;
use super::source::Source;
use super::tensor::ElementType;
use super::tokenizer::Tokenizer;
use super::tokenizer_config::TokenizerConfig;
use super::values::Values;

/// A directory that was looked through. Nobody has looked at its tensors' elements yet.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Examination {
    /// `None` where it was refused.
    pub config: Option<ModelConfig>,
    /// Why it cannot be loaded, in the order in which loading it would find out.
    pub faults: Vec<CheckpointError>,
    /// What loading it warns of, or cannot be used though it can be loaded.
    pub warnings: Vec<CheckpointError>,
    /// What the file says beside the tensors, each key with its value in words; none of a directory.
    pub metadata: Vec<(String, String)>,
    names: TensorNames,
    /// The files that loading reads, as far as they are there.
    files: Vec<PathBuf>,
    /// `None` where there is nothing that would say which tensors there are.
    found: Option<Found>,
    /// Names of tensors that are part of `faults` already.
    faulty: BTreeSet<String>,
}

/// A tensor as its file, or the index, describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorEntry {
    /// The full name in its file.
    pub name: String,
    /// As the file calls it; there may be types among them that we do not read.
    pub element_type: String,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// What its elements take in the file; `None` if that cannot be counted.
    pub bytes: Option<u64>,
    /// The file it lies in.
    pub file: PathBuf,
}

/// Where a tensor's elements lie in its file, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// What they are stored as.
    pub element: ElementType,
    /// Of the first element, in bytes from the beginning of the file.
    pub offset: u64,
}

impl Examination {
    /// Looks through the configuration, the text side and the headers of all weights in `path`: a directory, or a GGUF file.
    ///
    /// # Errors
    /// If `path` is neither; everything else is among the faults.
    pub fn of(path: &Path) -> Result<Self, CheckpointError> {
        if !path.is_file() {
            return Self::of_source(Source::existing(path)?, Vec::new());
        }
        gguf_file(path)?;
        let mut faults = Vec::new();
        let location = Location::open(path, &mut |fault| {
            faults.push(fault);
            Ok(())
        });
        match location {
            Ok(location) => Self::of_source(location.source(), faults),
            Err(fault) => {
                faults.push(fault);
                Ok(Self { files: vec![path.into()], faults, ..Self::default() })
            }
        }
    }

    fn of_source(source: Source<'_>, mut faults: Vec<CheckpointError>) -> Result<Self, CheckpointError> {
        let (mut config, mut warnings) = match keep(ModelConfig::load(source, CONFIG), &mut faults) {
            Some(Told { config, warnings }) => (Some(config), warnings),
            None => (None, Vec::new()),
        };
        // Without a configuration every id might be one of the vocabulary's.
        let vocab_size = config.as_ref().map_or(usize::MAX, |config| config.vocab_size);
        let generation = keep(GenerationConfig::load(source, vocab_size), &mut faults);
        warnings.extend(generation.into_iter().flat_map(|(_, unused)| unused));
        let rotation_seed = config.as_ref().and_then(|config| config.rotation_seed);
        let mut told = Vec::new();
        let mut tell = |fault| {
            told.push(fault);
            Ok(())
        };
        let found = Found::read(source, rotation_seed, &mut tell);
        let names = match (&found, &mut config) {
            (Ok(found), Some(config)) => {
                let names = found.names(config, &mut tell)?;
                warnings.extend(head::untie(config, &names, &found.tensors));
                warnings.extend(mtp::settle(config, &found.tensors));
                names
            }
            _ => TensorNames::default(),
        };
        faults.append(&mut told);
        let found = keep(found, &mut faults);
        warnings.extend(unused_adapter(source));
        let tokenizer_config = keep(TokenizerConfig::load(source), &mut faults).unwrap_or_default();
        keep(Tokenizer::load(source, &tokenizer_config, vocab_size), &mut faults);
        let template = keep(ChatTemplate::load(source, &tokenizer_config), &mut faults).flatten();
        warnings.extend(template.and_then(|template| try_out(&template)));
        let named = faults.iter().filter_map(|fault| match fault {
            CheckpointError::Tensor { tensor, .. } => Some(tensor.clone()),
            _ => None,
        });
        let (metadata, files) = match source {
            Source::Gguf(gguf) => (metadata(gguf), gguf.files().to_vec()),
            _ => (Vec::new(), files(source)),
        };
        Ok(Self { config, faulty: named.collect(), faults, warnings, metadata, names, files, found })
    }

    /// What the files call the tensors.
    pub(crate) fn names(&self) -> &TensorNames {
        &self.names
    }

    /// All tensors that files have, ordered by the full names that they were published with.
    pub fn tensors(&self) -> impl Iterator<Item = TensorEntry> {
        self.published().map(|(_, tensor)| tensor)
    }

    /// The same with those names, which files may have others for.
    pub(crate) fn published(&self) -> impl Iterator<Item = (&str, TensorEntry)> {
        let tensors = self.found.iter().flat_map(|found| &found.tensors);
        tensors.map(|(name, entry)| (name.as_str(), TensorEntry::of(entry)))
    }

    /// The full name of the tensor that has the one with this full name: itself, unless several share one.
    pub(crate) fn holder(&self, name: &str) -> String {
        let held = self.found.as_ref().and_then(|found| find(&found.tensors, name, self.config.as_ref()));
        held.map_or_else(|| name.to_owned(), |(holder, _)| holder)
    }

    /// Finds a tensor by the full name that it was published with, as loading does, but looks at none of its elements. `None` if it is part of the
    /// faults already.
    ///
    /// # Errors
    /// If there is no such tensor, its shape is not `shape`, or its element type is none we read.
    pub fn place(&self, name: &str, shape: &[usize]) -> Option<Result<Placement, CheckpointError>> {
        let found = self.found.as_ref()?;
        let Some((_, entry)) = find(&found.tensors, name, self.config.as_ref()) else {
            let shown = self.names.shown(name);
            let told = found.is_partial || self.faulty.contains(&shown) || found.unread.contains(name);
            return (!told).then(|| Err(no_such_tensor(&found.file, &shown, shape)));
        };
        let placed = entry.and_then(|entry| match entry {
            Entry::InShard(entry) => entry.element(shape).map(|element| Placement { element, offset: entry.offset }),
            Entry::Converted(entry) => {
                entry.offset(shape).map(|offset| Placement { element: entry.format.element(), offset })
            }
            Entry::InGguf(entry) => entry.element(shape).map(|element| Placement { element, offset: entry.offset() }),
        });
        Some(placed)
    }

    /// Every file that loading reads, as far as it is there; of a directory, without those that hold nothing but tensors.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

fn files(source: Source<'_>) -> Vec<PathBuf> {
    const NAMES: [&str; 7] = [
        CONFIG,
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
        "quantize_index.json",
    ];
    NAMES.into_iter().filter(|name| source.has(name)).map(|name| source.path(name)).collect()
}

fn metadata(gguf: &Gguf) -> Vec<(String, String)> {
    gguf.metadata().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl TensorEntry {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::InShard(entry) => Self {
                name: entry.name.clone(),
                element_type: entry.element_type.clone(),
                shape: entry.shape.clone(),
                bytes: Some(entry.bytes.len() as u64),
                file: entry.file.clone(),
            },
            Entry::Converted(entry) => {
                let element = entry.format.element();
                Self {
                    name: entry.name.clone(),
                    element_type: element.to_string(),
                    shape: entry.shape.clone(),
                    bytes: element.bytes_for(entry.shape.iter().product()).map(|bytes| bytes as u64),
                    file: entry.place.path.clone(),
                }
            }
            Entry::InGguf(entry) => Self {
                name: entry.name().to_owned(),
                element_type: entry.element_type(),
                shape: entry.shape().to_vec(),
                bytes: Some(entry.size()),
                file: entry.file().to_owned(),
            },
        }
    }

    /// Refuses a value that is infinite or not a number, and a block that stands for no such values, as loading does.
    /// `bytes` are some of the tensor's, aligned for `element`; the first element has the flat index `start`.
    ///
    /// # Errors
    /// The first such value or block.
    pub(crate) fn check_values(&self, element: ElementType, start: usize, bytes: &[u8]) -> Result<(), CheckpointError> {
        let checked = Values { element, shape: &self.shape, start, bytes }.check();
        checked.map_err(|(expected, found)| CheckpointError::tensor(&self.file, &self.name, expected, found))
    }
}

/// Compiles the template and has it render the shortest of conversations.
fn try_out(template: &ChatTemplate) -> Option<CheckpointError> {
    template.render(&[ChatMessage::new("user", "Hello")], &ChatOptions::default()).err()
}

fn keep<T>(result: Result<T, CheckpointError>, faults: &mut Vec<CheckpointError>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}
