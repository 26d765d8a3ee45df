//! A checkpoint in one safetensors file, or in several with an index that says which tensor lies where.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::safetensors::{self, Entry};
use crate::checkpoint::converted;
use crate::checkpoint::error::{CheckpointError, Faults};
use crate::checkpoint::json::{self, Fields};
use crate::checkpoint::source::{Source, is_plain_name};

pub(in crate::checkpoint) const SINGLE: &str = "model.safetensors";
pub(in crate::checkpoint) const INDEX: &str = "model.safetensors.index.json";
/// A thousand layers' names take three.
const LARGEST_INDEX: u64 = 16 << 20;

/// All tensors by full name.
pub(in crate::checkpoint) struct Shards {
    /// The file that says which there are.
    pub(in crate::checkpoint) file: PathBuf,
    pub(in crate::checkpoint) tensors: BTreeMap<String, Entry>,
    /// Those of which nothing is known, because the files they should be in could not be read.
    pub(in crate::checkpoint) unread: BTreeSet<String>,
}

/// Reads the headers of all files, without those that `faults` had to be told of.
pub(in crate::checkpoint) fn read(source: Source<'_>, faults: Faults<'_>) -> Result<Shards, CheckpointError> {
    let single = source.path(SINGLE);
    let mut tensors = BTreeMap::new();
    let mut unread = BTreeSet::new();
    if let Some(bytes) = source.map(SINGLE)? {
        add_shard(&mut tensors, safetensors::read(&single, &bytes, faults)?, faults)?;
        return Ok(Shards { file: single, tensors, unread });
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
    Ok(Shards { file: index, tensors, unread })
}

fn read_shard(
    source: Source<'_>,
    shard: &str,
    tensors: &mut BTreeMap<String, Entry>,
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
    tensors: &mut BTreeMap<String, Entry>,
    shard: Vec<Entry>,
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
