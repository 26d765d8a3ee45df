//! The tensors of a file: what each is called and looks like, and where its bytes are, which are known to be there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::cursor::Cursor;
use super::metadata::Metadata;
use super::types::TensorType;
use super::value::Kind;
use crate::checkpoint::error::{CheckpointError, Faults, counted};

const ALIGNMENT: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
/// As in llama.cpp, whose names have an end.
const LONGEST_NAME: usize = 63;
const MOST_DIMENSIONS: u32 = 4;

/// A tensor that is known to lie in its file, with bytes that are its shape's size.
#[derive(Clone, Debug)]
pub(super) struct Info {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) kind: TensorType,
    /// The dimensions, outermost first: the file has them the other way round.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Bytes,
    /// Of `bytes` in the file.
    pub(super) offset: u64,
}

/// The tensors of one file.
pub(super) struct Tensors {
    pub(super) infos: Vec<Info>,
    /// Names of those that `faults` had to be told of.
    pub(super) unread: BTreeSet<String>,
}

/// A tensor as the file describes it.
struct Described {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Tensors {
    /// Reads `count` descriptions, without those that `faults` had to be told of.
    pub(super) fn read(
        metadata: &Metadata,
        bytes: &Bytes,
        cursor: &mut Cursor<'_>,
        count: u64,
        faults: Faults<'_>,
    ) -> Result<Self, CheckpointError> {
        let file = metadata.file();
        let alignment = alignment(metadata)?;
        let mut described = Vec::new();
        for index in 0..count {
            described.push(Described::read(file, cursor, index)?);
        }
        let mut read = Self { infos: Vec::new(), unread: BTreeSet::new() };
        let Some(start) = (cursor.at() as u64).checked_next_multiple_of(alignment) else {
            return Err(metadata.error(ALIGNMENT, "an alignment that fits the file"));
        };
        let mut place = Place { file, bytes, start, alignment, next: Some(0), shortest: 0 };
        let mut names = BTreeSet::new();
        for tensor in described {
            if !names.insert(tensor.name.clone()) {
                faults(CheckpointError::tensor(file, &tensor.name, "every name once", "it twice"))?;
            }
            match place.take(&tensor) {
                Ok(Some(info)) => read.infos.push(info),
                Ok(None) => _ = read.unread.insert(tensor.name),
                Err(error) => {
                    faults(error)?;
                    read.unread.insert(tensor.name);
                }
            }
        }
        if place.shortest > bytes.len() as u64 {
            let expected = format!("{} bytes, as its tensors say", place.shortest);
            faults(CheckpointError::file(file, expected, format!("{} (truncated?)", bytes.len())))?;
        }
        Ok(read)
    }
}

impl Described {
    fn read(file: &Path, cursor: &mut Cursor<'_>, index: u64) -> Result<Self, CheckpointError> {
        let at = cursor.at();
        let name = cursor.text("a tensor's name")?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            let expected = format!("a name of 1 to {LONGEST_NAME} bytes for tensor {index}, at byte {at}");
            return Err(CheckpointError::file(file, expected, counted(name.len(), "byte")));
        }
        let dimensions = cursor.u32("a number of dimensions")?;
        if dimensions > MOST_DIMENSIONS {
            let expected = format!("at most {MOST_DIMENSIONS} dimensions");
            return Err(CheckpointError::tensor(file, name, expected, dimensions.to_string()));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = cursor.u64("a dimension")?;
            let found = || CheckpointError::tensor(file, name, "dimensions that memory can hold", size.to_string());
            shape.push(usize::try_from(size).map_err(|_| found())?);
        }
        shape.reverse();
        Ok(Self {
            name: name.to_owned(),
            shape,
            kind: cursor.u32("a tensor's type")?,
            offset: cursor.u64("an offset")?,
        })
    }
}

/// Where the next tensor's bytes must be.
struct Place<'a> {
    file: &'a Path,
    bytes: &'a Bytes,
    /// Of the data, in the file.
    start: u64,
    alignment: u64,
    /// Of the next tensor, in the data. `None` where that is not known, because nobody knows how long the one before is.
    next: Option<u64>,
    /// How long the file must be.
    shortest: u64,
}

impl Place<'_> {
    /// The next tensor; `None` if its bytes are beyond the file's end.
    fn take(&mut self, tensor: &Described) -> Result<Option<Info>, CheckpointError> {
        let &Described { ref name, ref shape, kind, offset } = tensor;
        let error = |expected: String, found: String| CheckpointError::tensor(self.file, name, expected, found);
        let expected = self.next.take();
        let Some(kind) = TensorType::of(kind) else {
            let expected = format!("a tensor type that is known, such as {}", TensorType::all_read());
            return Err(error(expected, format!("type {kind}")));
        };
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let count = count.filter(|&count| count > 0 && i64::try_from(count).is_ok());
        let Some(size) = count.and_then(|count| kind.bytes_for(count)).map(|size| size as u64) else {
            return Err(error("a shape whose size is not 0 and can be counted".into(), format!("{shape:?}")));
        };
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(kind.block) {
            let expected = format!("rows of whole blocks of {} elements, for {kind}", kind.block);
            return Err(error(expected, counted(row, "element")));
        }
        let end = offset.checked_add(size).and_then(|end| end.checked_add(self.start));
        let next = offset.checked_add(size).and_then(|end| end.checked_next_multiple_of(self.alignment));
        let (Some(end), Some(next)) = (end, next) else {
            return Err(error("an end that can be counted".into(), format!("{size} bytes at offset {offset}")));
        };
        self.next = Some(next);
        if !offset.is_multiple_of(self.alignment) {
            return Err(error(format!("an offset that is a multiple of {}", self.alignment), offset.to_string()));
        }
        if let Some(expected) = expected.filter(|&expected| expected != offset) {
            let how = if offset < expected { "an overlap" } else { "a gap" };
            let expected = format!("its data at offset {expected}, right behind the tensor before");
            return Err(error(expected, format!("{how}: offset {offset}")));
        }
        self.shortest = self.shortest.max(end);
        let range = usize::try_from(self.start + offset).ok().zip(usize::try_from(end).ok());
        let range = range.filter(|&(_, end)| end <= self.bytes.len());
        Ok(range.map(|(start, end)| Info {
            name: name.clone(),
            file: self.file.into(),
            kind,
            shape: shape.clone(),
            bytes: self.bytes.slice(start..end),
            offset: start as u64,
        }))
    }
}

/// What offsets are multiples of.
fn alignment(metadata: &Metadata) -> Result<u64, CheckpointError> {
    let expected = "a power of two, as u32";
    match (metadata.kind(ALIGNMENT), metadata.integer(ALIGNMENT)?) {
        (_, None) => Ok(DEFAULT_ALIGNMENT),
        (Some(Kind::U32), Some(alignment)) if alignment.is_power_of_two() => Ok(alignment),
        _ => Err(metadata.error(ALIGNMENT, expected)),
    }
}
