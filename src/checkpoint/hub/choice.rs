//! Which of a repository's files are the model that a name means.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::HubName;
use crate::checkpoint::directory::CONFIG;
use crate::checkpoint::{converted, gguf, huggingface};

/// What llama.cpp takes where a repository has several files and none is named.
const USUAL_QUANT: &str = "Q4_K_M";
/// Those that say where the weights of a folder are, or hold them.
const OF_FOLDERS: [&str; 3] = [converted::INDEX, huggingface::SINGLE, huggingface::INDEX];

/// What is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The folder, with its configuration.
    Folder,
    /// A file in it; of a split model, one of its parts.
    File(String),
}

impl Choice {
    /// Where it is, in this folder.
    pub(super) fn within(self, snapshot: PathBuf) -> PathBuf {
        match self {
            Self::Folder => snapshot,
            Self::File(file) => snapshot.join(file),
        }
    }
}

/// Why nothing is: what would be, and what there is in its place.
#[derive(Debug)]
pub(super) struct NoChoice {
    pub(super) expected: String,
    pub(super) found: String,
}

impl HubName {
    /// What is meant, of the files in a folder.
    pub(super) fn choose_in(&self, snapshot: &Path) -> Result<Choice, NoChoice> {
        let mut files = files_in(snapshot);
        files.extend(self.wanted.clone().filter(|wanted| snapshot.join(wanted).is_file()));
        self.choose(&files)
    }

    /// What is meant, in a repository of these files.
    pub(super) fn choose(&self, files: &[String]) -> Result<Choice, NoChoice> {
        let has = |file: &str| files.iter().any(|other| other == file);
        if let Some(wanted) = self.wanted.as_deref().filter(|wanted| has(wanted)) {
            return Ok(Choice::File(wanted.to_owned()));
        }
        let models: Vec<&str> = files.iter().map(String::as_str).filter(|file| is_gguf_model(file)).collect();
        if self.wanted.is_none() && has(CONFIG) && (models.is_empty() || OF_FOLDERS.into_iter().any(has)) {
            return Ok(Choice::Folder);
        }
        let of_quant = |quant: &str| -> Vec<&str> {
            let has = |file: &&&str| file_name(file).split(['-', '.']).any(|part| part.eq_ignore_ascii_case(quant));
            models.iter().filter(has).copied().collect()
        };
        let meant = match &self.wanted {
            Some(quant) => of_quant(quant),
            None if models.len() == 1 => models.clone(),
            None => of_quant(USUAL_QUANT),
        };
        if let [only] = meant[..] {
            return Ok(Choice::File(only.to_owned()));
        }
        let expected = match &self.wanted {
            Some(wanted) => format!("one file named {wanted}, or one GGUF file with {wanted} in its name"),
            None => format!("{CONFIG}, or one GGUF file: name one, as in {self}:{USUAL_QUANT}"),
        };
        let found = if models.is_empty() { "none".to_owned() } else { models.join(", ") };
        Err(NoChoice { expected, found })
    }
}

/// The last part of a path with slashes.
fn file_name(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, name)| name)
}

/// Whether it is a GGUF file of a model, of a split one the first: neither a tower that sees nor a head by itself.
fn is_gguf_model(file: &str) -> bool {
    let name = file_name(file).to_ascii_lowercase();
    let is_gguf = Path::new(&name).extension() == Some(OsStr::new(gguf::EXTENSION));
    is_gguf && !gguf::is_later_part(&name) && !name.starts_with("mmproj") && !name.starts_with("mtp-")
}

/// The files in a folder and in those in it, sorted, with slashes between the names. What is a link that leads nowhere is none.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = entries(folder).filter(|path| path.is_dir());
    let inner = folders.flat_map(|folder| entries(&folder));
    let name = |path: &Path| {
        let parts = path.strip_prefix(folder).ok()?.iter().map(OsStr::to_str).collect::<Option<Vec<_>>>();
        parts.map(|parts| parts.join("/"))
    };
    let files = entries(folder).chain(inner).filter(|path| path.is_file());
    let mut files: Vec<_> = files.filter_map(|path| name(&path)).collect();
    files.sort_unstable();
    files
}
