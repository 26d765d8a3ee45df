//! Checkpoints in four bits: the bytes that are written, what is refused, and what is left when a run does not end well.

#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod command;
mod content;
mod endings;
mod mtp;
mod quantizer;
mod quarot;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use loquent::convert::{Conversion, ConvertError, ConvertOptions, ConvertReport};
use tempfile::TempDir;

/// The defaults, but for replacing what is there.
fn replacing() -> ConvertOptions {
    ConvertOptions::default().replace(true)
}

/// Plans and runs to the end.
fn convert(source: &Path, destination: &Path, options: ConvertOptions) -> Result<ConvertReport, ConvertError> {
    Conversion::plan(source, destination, options)?.run(|_| ControlFlow::Continue(()))
}

/// A folder, and a place in it where nothing is yet.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    (folder, path)
}

/// Every file below `directory` by its path in it, with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            files.extend(content(&path).into_iter().map(|(file, bytes)| (name.join(file), bytes)));
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// The names of all that is in `directory`, hidden or not.
fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
