//! `quantize_index.json`, which says what the files of a converted directory are, read and written: an array of tensors,
//! or an object that holds one and the seed by which they were rotated. Files are opened when their tensors are taken, so
//! that those nobody takes cost nothing.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::promotion::{self, Promotion};
use super::tensor_file::{self, Format};
use crate::checkpoint::error::{CheckpointError, Faults};
use crate::checkpoint::json::{self, Fields, describe};
use crate::checkpoint::source::{Place, Source, is_plain_name};
use crate::checkpoint::tensor::{MOST_DIMENSIONS, Tensor};

pub(crate) const FILE: &str = "quantize_index.json";
/// A thousand layers' names take five million bytes.
pub(super) const LARGEST: u64 = 16 << 20;
const SEED: &str = "quarot_seed";
/// What lattice calls a model of which only the residual stream is rotated, once and for all.
const RESIDUAL: &str = "v0-residual";

/// A tensor that the index promises.
#[derive(Clone, Debug)]
pub(in crate::checkpoint) struct Entry {
    pub(in crate::checkpoint) name: String,
    /// The index, to be named where it is at odds with something.
    index: PathBuf,
    pub(in crate::checkpoint) place: Place,
    pub(in crate::checkpoint) format: Format,
    pub(in crate::checkpoint) shape: Vec<usize>,
}

impl Entry {
    /// The tensor, if the index and its own file say that it has `shape`, and its values are sound.
    pub(in crate::checkpoint) fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        self.check_shape(shape)?;
        let taken = tensor_file::take(&self.place, self.format, &self.name, shape)?;
        taken.ok_or_else(|| self.no_such_file())
    }

    /// The tensor as its file has it, if that is of the index's shape.
    pub(in crate::checkpoint) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        let opened = tensor_file::unchecked(&self.place, self.format, &self.name, &self.shape)?;
        opened.ok_or_else(|| self.no_such_file())
    }

    /// Where its elements begin in its file, if the index and the file say that it has `shape`.
    pub(in crate::checkpoint) fn offset(&self, shape: &[usize]) -> Result<u64, CheckpointError> {
        self.check_shape(shape)?;
        let offset = tensor_file::offset(&self.place, self.format, &self.name, shape)?;
        offset.ok_or_else(|| self.no_such_file())
    }

    fn check_shape(&self, shape: &[usize]) -> Result<(), CheckpointError> {
        if self.shape != shape {
            let (expected, found) = (format!("shape {shape:?}"), format!("{:?}", self.shape));
            return Err(CheckpointError::tensor(&self.index, &self.name, expected, found));
        }
        Ok(())
    }

    fn no_such_file(&self) -> CheckpointError {
        CheckpointError::file(&self.place.path, format!("the tensor that {FILE} names"), "no such file")
    }
}

/// All tensors that the index promises, without those that `faults` had to be told of; `None` where there is no index.
/// `rotation_seed` is the configuration's.
pub(in crate::checkpoint) fn read(
    source: Source<'_>,
    rotation_seed: Option<u64>,
    faults: Faults<'_>,
) -> Result<Option<Vec<Entry>>, CheckpointError> {
    let Some(text) = source.text(FILE, LARGEST)? else { return Ok(None) };
    let path = source.path(FILE);
    let value = json::parse(&path, &text)?;
    let (at, items) = match &value {
        Value::Array(items) => ("", items.as_slice()),
        Value::Object(_) => ("tensors", rotated(Fields::of(&path, &value)?, rotation_seed, faults)?),
        other => {
            let expected = "an array of tensors, or an object that holds one";
            return Err(CheckpointError::file(&path, expected, describe(Some(other))));
        }
    };
    let (mut names, mut files) = (BTreeSet::new(), BTreeSet::new());
    let mut entries = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let fields = Fields::nested(&path, &at, item);
        let entry = fields.and_then(|fields| {
            let entry = entry(source, &path, fields)?;
            if !files.insert(entry.place.path.clone()) {
                return Err(fields.error("file", "a file of its own for each tensor"));
            }
            if !names.insert(entry.name.clone()) {
                return Err(fields.error("name", "every name once"));
            }
            Ok(entry)
        });
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => faults(error)?,
        }
    }
    Ok(Some(entries))
}

/// The tensors of a rotated model, whose seed is known to be the configuration's.
fn rotated<'a>(
    root: Fields<'a>,
    rotation_seed: Option<u64>,
    faults: Faults<'_>,
) -> Result<&'a [Value], CheckpointError> {
    let seed = seed(root)?;
    if let Some(other) = rotation_seed
        && seed != other
    {
        faults(root.error(SEED, format!("{other}, which config.json has as quarot_rotation_seed")))?;
    }
    // Weights of lattice's next kind of rotation want activations turned back at run time: without, they compute nonsense.
    let of_online = root.object("online")?.map(|online| (online, "version"));
    for (fields, version) in [(root, "artifact_version")].into_iter().chain(of_online) {
        if fields.text(version)?.is_some_and(|version| version != RESIDUAL) {
            faults(fields.error(version, format!("{RESIDUAL}, weights that need no rotation at run time")))?;
        }
    }
    promotion::tell(root, seed)?;
    root.array("tensors")?.ok_or_else(|| root.error("tensors", "an array of tensors"))
}

/// That of the rotation, without which an object is no index.
pub(super) fn seed(root: Fields<'_>) -> Result<u64, CheckpointError> {
    let seed = root.get(SEED).and_then(Value::as_u64);
    seed.ok_or_else(|| root.error(SEED, "the rotation's seed, an integer from 0 to 2^64 - 1"))
}

fn entry(source: Source<'_>, index: &Path, fields: Fields<'_>) -> Result<Entry, CheckpointError> {
    let name = match fields.text("name")? {
        Some(name) if !name.is_empty() => name,
        _ => return Err(fields.error("name", "a tensor's name")),
    };
    let format = match fields.flag("quantized")? {
        Some(true) => Format::Q4,
        Some(false) => Format::F16,
        None => return Err(fields.error("quantized", "true or false")),
    };
    let extension = format.extension();
    let file = match fields.text("file")? {
        Some(file) if is_plain_name(file) && file.ends_with(extension) => file,
        _ => return Err(fields.error("file", format!("the name of a {extension} file in the same directory"))),
    };
    let shape = fields
        .sizes("shape")
        .ok_or_else(|| fields.error("shape", format!("an array of sizes, {MOST_DIMENSIONS} at most")))?;
    let product = shape.iter().try_fold(1usize, |product, &dimension| product.checked_mul(dimension));
    let product = product.ok_or_else(|| fields.error("shape", "a shape whose size can be counted"))?;
    if fields.get("numel").and_then(Value::as_u64) != Some(product as u64) {
        return Err(fields.error("numel", format!("{product}, for shape {shape:?}")));
    }
    Ok(Entry { name: name.into(), index: index.into(), place: source.place(file), format, shape })
}

/// A tensor to be listed.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) format: Format,
    pub(crate) shape: &'a [usize],
}

/// What is said of a rotation.
pub(crate) struct Rotated<'a> {
    pub(crate) seed: u64,
    /// What is known of how well it turned out.
    pub(crate) reason: &'a str,
}

/// The text of an index: by name, indented by two, no newline at the end.
pub(crate) fn text(mut rows: Vec<Row<'_>>, rotated: Option<Rotated<'_>>) -> String {
    rows.sort_by_key(|row| row.name);
    let row = |Row { name, format, shape }: Row<'_>| {
        json!({
            "name": name,
            "file": format.file_name(name),
            "quantized": format == Format::Q4,
            "shape": shape,
            "numel": shape.iter().product::<usize>(),
        })
    };
    let rows = rows.into_iter().map(row).collect::<Value>();
    let index = match rotated {
        None => rows,
        Some(Rotated { seed, reason }) => {
            json!({SEED: seed, "tensors": rows, "promotion": Promotion::Unpromoted.field(reason)})
        }
    };
    format!("{index:#}")
}
