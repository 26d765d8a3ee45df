//! What goes beside the tensors: the files of the source as they are, or what a GGUF file says in their place.

use std::fs;
use std::path::{Path, PathBuf};

use super::config;
use super::error::ConvertError;
use super::files;
use crate::checkpoint::{CheckpointError, TEXTS, open_regular, texts_in_gguf};

/// Where those are.
pub(super) enum Texts {
    /// In this directory.
    Files(PathBuf),
    /// Here, each with the name that its file gets.
    Written(Vec<(&'static str, String)>),
}

/// What is written beside the tensors: files to copy, and texts.
pub(super) type Beside = (Vec<(&'static str, PathBuf)>, Vec<(&'static str, String)>);

impl Texts {
    pub(super) fn of(source: &Path) -> Result<Self, CheckpointError> {
        Ok(texts_in_gguf(source, &TEXTS)?.map_or_else(|| Self::Files(source.into()), Self::Written))
    }

    /// The configuration with a head of its own, and the seed of a rotation.
    pub(super) fn untied_config(&self, rotation_seed: Option<u64>) -> Result<String, ConvertError> {
        match self {
            Self::Files(directory) => {
                let path = directory.join(files::CONFIG);
                let text = fs::read_to_string(&path).map_err(ConvertError::io(&path, "read"))?;
                config::untied(&path, &text, rotation_seed)
            }
            Self::Written(texts) => {
                let text = texts.iter().find(|(name, _)| *name == files::CONFIG).map_or("{}", |(_, text)| text);
                config::untied(Path::new(files::CONFIG), text, rotation_seed)
            }
        }
    }

    /// All but `written`, which others have written already.
    pub(super) fn beside(self, mut written: Vec<(&'static str, String)>) -> Result<Beside, ConvertError> {
        let mut copied = Vec::new();
        match self {
            Self::Files(directory) => {
                for file in TEXTS.into_iter().filter(|copied| written.iter().all(|(written, _)| written != copied)) {
                    let path = directory.join(file);
                    if open_regular(&path)?.is_some() {
                        copied.push((file, path));
                    }
                }
            }
            Self::Written(mut texts) => {
                texts.retain(|(text, _)| written.iter().all(|(written, _)| written != text));
                written.append(&mut texts);
            }
        }
        Ok((copied, written))
    }
}
