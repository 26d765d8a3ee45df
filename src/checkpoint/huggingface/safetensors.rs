//! The header of a safetensors file → where each tensor lies: `u64 length | JSON | data`. Checked here rather than by the
//! reference crate, whose errors do not say which tensor or what was found, and which takes the last of two tensors of
//! the same name.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use crate::checkpoint::error::{CheckpointError, Excerpt, Faults, counted};
use crate::checkpoint::json::{self, Fields};
use crate::checkpoint::tensor::{ElementType, MOST_DIMENSIONS, Tensor};

/// As in the reference implementation.
const LARGEST_HEADER: usize = 100_000_000;
const LENGTH: usize = size_of::<u64>();

/// A tensor that is known to lie in its file, with bytes that are its shape's size.
#[derive(Clone, Debug)]
pub(in crate::checkpoint) struct Entry {
    pub(in crate::checkpoint) name: String,
    pub(in crate::checkpoint) file: PathBuf,
    /// As the file says it; only three are read.
    pub(in crate::checkpoint) element_type: String,
    pub(in crate::checkpoint) shape: Vec<usize>,
    pub(in crate::checkpoint) bytes: Bytes,
    /// Of `bytes` in the file.
    pub(in crate::checkpoint) offset: u64,
}

impl Entry {
    /// The element type, if it is one we read and the tensor has the `shape` it must have.
    pub(in crate::checkpoint) fn element(&self, shape: &[usize]) -> Result<ElementType, CheckpointError> {
        let error = |expected: String, found: String| CheckpointError::tensor(&self.file, &self.name, expected, found);
        if self.shape != shape {
            return Err(error(format!("shape {shape:?}"), format!("{:?}", self.shape)));
        }
        match self.element_type.as_str() {
            "F32" => Ok(ElementType::F32),
            "F16" => Ok(ElementType::F16),
            "BF16" => Ok(ElementType::Bf16),
            other => Err(error("element type F32, F16 or BF16".into(), Excerpt(other).to_string())),
        }
    }

    /// The tensor, if it has the `shape` it must have, a type we read, and only finite values.
    pub(in crate::checkpoint) fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        self.element(shape)?;
        let tensor = self.unchecked()?;
        tensor.check_values(&self.file)?;
        Ok(tensor)
    }

    /// That of the expert's matrix of this shape that begins at the element with flat index `first`.
    pub(in crate::checkpoint) fn part(
        &self,
        expert: usize,
        shape: &[usize],
        first: usize,
    ) -> Result<Self, CheckpointError> {
        let element = self.element(&self.shape)?;
        // They lie within a tensor whose size was counted.
        let (start, size) = (first * element.block_size(), shape.iter().product::<usize>() * element.block_size());
        Ok(Self {
            name: format!("{}[{expert}]", self.name),
            shape: shape.to_vec(),
            bytes: self.bytes.slice(start..start + size),
            offset: self.offset + start as u64,
            ..self.clone()
        })
    }

    /// The tensor as it is stored, if it has a type we read.
    pub(in crate::checkpoint) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        let element = self.element(&self.shape)?;
        Tensor::new(&*self.name, element, self.shape.clone(), self.bytes.clone())
    }
}

/// All tensors of a file, in the order of their bytes, without those that `faults` had to be told of.
pub(in crate::checkpoint) fn read(
    file: &Path,
    bytes: &Bytes,
    faults: Faults<'_>,
) -> Result<Vec<Entry>, CheckpointError> {
    let (header, data) = split(file, bytes)?;
    let value = json::parse(file, header)?;
    let fields = Fields::of(file, &value)?;
    let (mut spans, mut all) = (Vec::new(), true);
    for (name, _) in fields.entries().filter(|(name, _)| *name != "__metadata__") {
        match Span::read(file, fields, name, data.len()) {
            Ok(span) => spans.push(span),
            Err(error) => {
                faults(error)?;
                all = false;
            }
        }
    }
    spans.sort_by_key(|span| (span.range.start, span.range.end));
    if all {
        check_tiling(file, &spans, data.len())?;
    }
    let entry = |span: Span<'_>| Entry {
        name: span.name.into(),
        file: file.into(),
        element_type: span.element_type.into(),
        shape: span.shape,
        offset: (bytes.len() - data.len() + span.range.start) as u64,
        bytes: data.slice(span.range),
    };
    Ok(spans.into_iter().map(entry).collect())
}

/// The header's text and the data behind it.
fn split<'a>(file: &Path, bytes: &'a Bytes) -> Result<(&'a str, Bytes), CheckpointError> {
    let in_file = counted(bytes.len(), "byte");
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(CheckpointError::file(file, "a safetensors header", in_file));
    };
    let length = u64::from_le_bytes(*length);
    let header = match usize::try_from(length) {
        Ok(length) if length <= LARGEST_HEADER => rest.get(..length),
        _ => {
            let expected = format!("a safetensors header of at most {LARGEST_HEADER} bytes");
            return Err(CheckpointError::file(file, expected, counted_length(length)));
        }
    };
    let Some(header) = header else {
        let expected = format!("a safetensors header of {length} bytes, as it says");
        return Err(CheckpointError::file(file, expected, format!("{in_file} in all (truncated?)")));
    };
    let text = std::str::from_utf8(header).map_err(|error| {
        let found = format!("an invalid byte at position {}", LENGTH + error.valid_up_to());
        CheckpointError::file(file, "a safetensors header in UTF-8", found)
    })?;
    Ok((text, bytes.slice(LENGTH + header.len()..)))
}

fn counted_length(length: u64) -> String {
    format!("a length of {length} (is this a safetensors file?)")
}

/// One tensor as the header describes it.
struct Span<'a> {
    name: &'a str,
    element_type: &'a str,
    shape: Vec<usize>,
    /// In the data behind the header.
    range: Range<usize>,
}

impl<'a> Span<'a> {
    fn read(file: &Path, header: Fields<'a>, name: &'a str, data: usize) -> Result<Self, CheckpointError> {
        let error = |expected: String, found: String| CheckpointError::tensor(file, name, expected, found);
        let Some(fields) = header.object(name).ok().flatten() else {
            return Err(error("an object with dtype, shape and data_offsets".into(), header.describe(name)));
        };
        let element_type = fields.get("dtype").and_then(Value::as_str);
        let element_type =
            element_type.ok_or_else(|| error("dtype to be an element type's name".into(), fields.describe("dtype")))?;
        let shape = fields.sizes("shape").ok_or_else(|| {
            error(format!("shape to be an array of sizes, {MOST_DIMENSIONS} at most"), fields.describe("shape"))
        })?;
        let offsets = fields.sizes("data_offsets");
        let range = match offsets.as_deref() {
            Some(&[start, end]) if start <= end && end <= data => start..end,
            _ => {
                let expected = format!("data_offsets within the {data} bytes of data");
                return Err(error(expected, fields.describe("data_offsets")));
            }
        };
        if let Some(bits) = element_bits(element_type) {
            let size = shape.iter().try_fold(bits, |size, &dimension| size.checked_mul(dimension));
            if size != range.len().checked_mul(8) {
                let expected = match size {
                    Some(size) => format!("{} bytes for {element_type} {shape:?}", size.div_ceil(8)),
                    None => format!("a size that can be counted, not {element_type} {shape:?}"),
                };
                return Err(error(expected, format!("{} bytes at {range:?}", range.len())));
            }
        }
        Ok(Self { name, element_type, shape, range })
    }
}

/// Bits per element of every type the format has had for years; types added since pass unmeasured, and are refused if
/// the model needs them.
fn element_bits(element_type: &str) -> Option<usize> {
    match element_type {
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => Some(8),
        "U16" | "I16" | "F16" | "BF16" => Some(16),
        "U32" | "I32" | "F32" => Some(32),
        "U64" | "I64" | "F64" => Some(64),
        _ => None,
    }
}

/// Refuses tensors that overlap, and bytes that belong to none: the format has no gaps, so either is damage.
fn check_tiling(file: &Path, spans: &[Span<'_>], data: usize) -> Result<(), CheckpointError> {
    let mut end = 0;
    let mut previous = "the header";
    for span in spans {
        if span.range.start != end {
            let kind = if span.range.start < end { "an overlap" } else { "a gap" };
            let expected = format!("data from {end} on, where {previous} ends");
            let found = format!("{kind}: data_offsets {:?}", span.range);
            return Err(CheckpointError::tensor(file, span.name, expected, found));
        }
        (end, previous) = (span.range.end, span.name);
    }
    if end != data {
        let expected = format!("data to end at {end}, where the last tensor ends");
        return Err(CheckpointError::file(file, expected, counted(data, "byte")));
    }
    Ok(())
}
