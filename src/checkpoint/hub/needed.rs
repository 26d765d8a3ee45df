//! Which files a model consists of.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::choice::Choice;
use crate::checkpoint::directory::CONFIG;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::source::{Source, is_plain_name};
use crate::checkpoint::{converted, gguf, huggingface, json};

/// What is beside the weights of a folder. The first must be there, and the tokenizer where there is one.
pub(crate) const TEXTS: [&str; 9] = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];
const TOKENIZER: &str = "tokenizer.json";
/// A thousand layers' names take five million bytes.
const LARGEST_INDEX: u64 = 16 << 20;

/// What is not in a revision's folder that it cannot do without. Of texts that a repository may lack, only the tokenizer counts:
/// texts are fetched before weights, and folders without it come from programs that fetched a file by itself.
pub(super) fn missing(snapshot: &Path, choice: &Choice) -> Result<Vec<String>, CheckpointError> {
    let mut needed = match choice {
        Choice::File(file) => parts(file),
        Choice::Folder => {
            let mut needed = vec![CONFIG.to_owned()];
            needed.extend((!is_known_to_lack(snapshot, TOKENIZER)).then(|| TOKENIZER.to_owned()));
            needed.extend(weights(snapshot)?);
            needed
        }
    };
    needed.retain(|file| !snapshot.join(file).is_file());
    Ok(needed)
}

/// A file and the other parts of its model, beside it.
pub(super) fn parts(file: &str) -> Vec<String> {
    let (folder, name) = file.rsplit_once('/').map_or(("", file), |(folder, name)| (&file[..=folder.len()], name));
    gguf::names_of_parts(name).into_iter().map(|part| format!("{folder}{part}")).collect()
}

/// The files with weights of a folder in Hugging Face form or a converted one, as its index has them. Names that lead elsewhere are
/// left to whoever opens it, to be refused.
pub(super) fn weights(snapshot: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let source = Source::Directory(snapshot);
    let read = |index: &str| -> Result<Option<Value>, CheckpointError> {
        let text = source.text(index, LARGEST_INDEX)?;
        text.map(|text| json::parse(&source.path(index), &text)).transpose()
    };
    let named = |value: &Value| value.as_str().filter(|name| is_plain_name(name)).map(str::to_owned);
    if let Some(index) = read(converted::INDEX)? {
        let tensors = index.get("tensors").unwrap_or(&index).as_array();
        return Ok(tensors.into_iter().flatten().filter_map(|tensor| named(tensor.get("file")?)).collect());
    }
    if snapshot.join(huggingface::SINGLE).is_file() {
        return Ok(BTreeSet::from([huggingface::SINGLE.to_owned()]));
    }
    match read(huggingface::INDEX)? {
        Some(index) => {
            let map = index.get("weight_map").and_then(Value::as_object);
            Ok(map.into_iter().flat_map(|map| map.values()).filter_map(named).collect())
        }
        None => Ok(BTreeSet::from([huggingface::SINGLE.to_owned()])),
    }
}

/// Whether it has been noted that the repository has no such file, as the hub's own programs do.
fn is_known_to_lack(snapshot: &Path, file: &str) -> bool {
    marker(snapshot, file).is_some_and(|marker| marker.exists())
}

/// What notes it.
fn marker(snapshot: &Path, file: &str) -> Option<std::path::PathBuf> {
    let repository = snapshot.parent()?.parent()?;
    Some(repository.join(".no_exist").join(snapshot.file_name()?).join(file))
}

/// Notes for the next time which of these files the repository does not have.
#[cfg(feature = "hub")]
pub(super) fn note_lacking(snapshot: &Path, has: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for marker in TEXTS.into_iter().filter(|text| !has(text)).filter_map(|text| marker(snapshot, text)) {
        std::fs::create_dir_all(marker.parent().unwrap_or(&marker))?;
        std::fs::write(marker, "")?;
    }
    Ok(())
}
