//! Hashes that others have noted of a checkpoint's files: `SHA256SUMS`, as `sha256sum` writes it, and what the hub's own
//! downloader keeps beside what it downloads.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::checkpoint::{CheckpointError, open_regular};

const SUMS: &str = "SHA256SUMS";
/// Of `hf download --local-dir`: `FILE.metadata` has the commit, the entity tag and the time of the download, a line
/// each. The tag of a file in large-file storage is its SHA-256; that of any other is a shorter hash.
const DOWNLOADS: &str = ".cache/huggingface/download";
/// Some thousand lines.
const LARGEST: u64 = 1 << 20;

/// Hashes by the file's name.
#[derive(Debug)]
pub(super) struct Checksums {
    directory: PathBuf,
    sums: BTreeMap<String, String>,
}

impl Checksums {
    /// Reads the list in `directory`, if there is one; `faults` gets what cannot be understood of it.
    pub(super) fn read(directory: &Path, faults: &mut Vec<CheckpointError>) -> Self {
        let path = directory.join(SUMS);
        let text = text(&path).unwrap_or_else(|error| {
            faults.push(error);
            None
        });
        let mut sums = BTreeMap::new();
        for (line, text) in text.iter().flat_map(|text| text.lines()).enumerate() {
            match entry(text) {
                Some((name, sum)) => _ = sums.insert(name, sum),
                None if text.trim().is_empty() => {}
                None => faults.push(CheckpointError::File {
                    file: path.clone(),
                    expected: "a SHA-256 and the name of a file on each line".into(),
                    found: format!("something else on line {}", line + 1),
                }),
            }
        }
        Self { directory: directory.into(), sums }
    }

    /// The hashes that `file` should have, each with who says so.
    pub(super) fn of(&self, file: &Path) -> Vec<(PathBuf, String)> {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
        let listed = self.sums.get(name).map(|sum| (self.directory.join(SUMS), sum.clone()));
        let download = self.directory.join(DOWNLOADS).join(format!("{name}.metadata"));
        // What the downloader keeps for itself may change at any time: what is not understood says nothing.
        let tag = text(&download).ok().flatten().and_then(|text| sha256(text.lines().nth(1)?.trim()));
        listed.into_iter().chain(tag.map(|tag| (download, tag))).collect()
    }
}

/// The name and the hash of a line of `SHA256SUMS`: the hash, a space, a space or a star, the name.
fn entry(line: &str) -> Option<(String, String)> {
    let (sum, name) = line.trim_end().split_once(' ')?;
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    Some((name.strip_prefix("./").unwrap_or(name).to_owned(), sha256(sum)?))
}

/// In lower case, if it is one.
fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

fn text(path: &Path) -> Result<Option<String>, CheckpointError> {
    let Some((file, _)) = open_regular(path)? else { return Ok(None) };
    let mut text = String::new();
    let read = file.take(LARGEST).read_to_string(&mut text);
    read.map_err(|source| CheckpointError::Io { file: path.into(), action: "read", source })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_sha256sum_writes_them() {
        let sum = "0123456789abcdef".repeat(4);
        let named = |name: &str| Some((name.to_owned(), sum.clone()));
        assert_eq!(entry(&format!("{sum}  model.safetensors")), named("model.safetensors"));
        assert_eq!(entry(&format!("{sum} *./a file\r")), named("a file"));
        assert_eq!(entry(&format!("{}  config.json", sum.to_uppercase())), named("config.json"));
        for wrong in ["", "config.json", &format!("{}  x", &sum[1..]), &format!("g{}  x", &sum[1..])] {
            assert_eq!(entry(wrong), None, "{wrong}");
        }
    }
}
