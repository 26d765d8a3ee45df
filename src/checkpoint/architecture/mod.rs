//! `config.json` → a configuration that is known to be one we implement. There is a module for each family of models.

#![forbid(unsafe_code)]

mod dense;
mod fields;
mod llama;
mod moe;
mod qwen3;
mod qwen3_5;
mod qwen3_moe;
mod rope;
mod unimplemented;

use std::path::Path;

pub(super) use self::qwen3_5::{MTP_LAYERS, TILED_VALUE_HEADS};
use super::config::{ModelConfig, Told};
use super::error::CheckpointError;
use super::json::{self, Fields};
use super::source::Source;

/// A configuration is a few kilobytes.
const LARGEST_CONFIG: u64 = 1 << 20;

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// If there is no such file, or as [`ModelConfig::from_json`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Self::load(Source::Directory(directory), name).map(Told::tell)
    }

    pub(super) fn load(source: Source<'_>, file: &str) -> Result<Told, CheckpointError> {
        let path = source.path(file);
        match source.text(file, LARGEST_CONFIG)? {
            Some(text) => Self::parse(&path, &text),
            None => Err(CheckpointError::file(&path, "a model's configuration", "no such file")),
        }
    }

    /// Parses the text of a `config.json`; `file` only names it in messages.
    ///
    /// # Errors
    /// If a field is missing, out of range or at odds with another, or asks for what is not implemented.
    pub fn from_json(file: &Path, text: &str) -> Result<Self, CheckpointError> {
        Self::parse(file, text).map(Told::tell)
    }

    fn parse(file: &Path, text: &str) -> Result<Told, CheckpointError> {
        let value = json::parse(file, text)?;
        let root = Fields::of(file, &value)?;
        match root.text("model_type")? {
            Some(llama::MODEL_TYPE) => llama::read(root),
            Some(qwen3::MODEL_TYPE) => qwen3::read(root),
            Some(qwen3_moe::MODEL_TYPE) => qwen3_moe::read(root),
            Some(qwen3_5::MODEL_TYPE | qwen3_5::TEXT_MODEL_TYPE) => qwen3_5::read(root, &qwen3_5::DENSE),
            Some(qwen3_5::MOE_MODEL_TYPE | qwen3_5::MOE_TEXT_MODEL_TYPE) => qwen3_5::read(root, &qwen3_5::MOE),
            _ => {
                let known = "\"llama\", \"qwen3\", \"qwen3_moe\", \"qwen3_5\", \"qwen3_5_text\", \"qwen3_5_moe\" or \"qwen3_5_moe_text\"";
                Err(root.error("model_type", known))
            }
        }
    }
}
