//! A file that holds one tensor, as converted checkpoints do, read and written:
//!
//! ```text
//! magic | u32 version | u32 dimensions | u64 shape[dimensions] | u64 elements | payload
//! ```
//!
//! `KHQ4` in version 2 has blocks of four-bit weights behind it, `KHF1` in version 1 half-precision numbers.

#![forbid(unsafe_code)]

use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::error::{CheckpointError, counted};
use crate::checkpoint::source::Place;
use crate::checkpoint::tensor::{ElementType, MOST_DIMENSIONS, Tensor};

/// The magic, the version and the number of dimensions.
const PREFIX: usize = 12;

/// What a file's name says is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `.q4`
    Q4,
    /// `.f16`
    F16,
}

impl Format {
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Q4 => ".q4",
            Self::F16 => ".f16",
        }
    }

    const fn magic(self) -> &'static [u8; 4] {
        match self {
            Self::Q4 => b"KHQ4",
            Self::F16 => b"KHF1",
        }
    }

    const fn version(self) -> u32 {
        match self {
            Self::Q4 => 2,
            Self::F16 => 1,
        }
    }

    pub(crate) const fn element(self) -> ElementType {
        match self {
            Self::Q4 => ElementType::Q4,
            Self::F16 => ElementType::F16,
        }
    }

    /// The file of a tensor: names have dots and slashes in them, and files are to be flat and portable.
    pub(crate) fn file_name(self, tensor: &str) -> String {
        let safe = |character: char| if character.is_alphanumeric() || character == '-' { character } else { '_' };
        let stem: String = tensor.chars().map(safe).collect();
        stem + self.extension()
    }

    /// What the file of a tensor begins with.
    pub(crate) fn header(self, shape: &[usize]) -> Vec<u8> {
        let mut header = Vec::from(self.magic());
        header.extend(self.version().to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "tensors have at most three dimensions")]
        header.extend((shape.len() as u32).to_le_bytes());
        let count = shape.iter().product();
        shape.iter().chain([&count]).for_each(|&size: &usize| header.extend((size as u64).to_le_bytes()));
        header
    }
}

/// The tensor in a file, if it has the `shape` it must have and only sound values. `None` where there is no such file.
pub(super) fn take(
    place: &Place,
    format: Format,
    name: &str,
    shape: &[usize],
) -> Result<Option<Tensor>, CheckpointError> {
    let Some(opened) = place.open()? else { return Ok(None) };
    let length = {
        // Looking at every value makes every page of a map resident, and there they would stay while a backend packs
        // one tensor after another into memory of its own: the model would be in memory twice. So this map ends with
        // the check, and the tensor gets one that nobody has touched.
        let bytes = opened.map()?;
        tensor(&place.path, format, name, shape, &bytes)?.check_values(&place.path)?;
        bytes.len()
    };
    let bytes = opened.map()?;
    if bytes.len() != length {
        let expected = format!("a file that stays as it is while it is read, of {}", counted(length, "byte"));
        return Err(CheckpointError::file(&place.path, expected, counted(bytes.len(), "byte")));
    }
    tensor(&place.path, format, name, shape, &bytes).map(Some)
}

/// The tensor in a file, if it has the `shape` it must have. `None` where there is no such file.
pub(super) fn unchecked(
    place: &Place,
    format: Format,
    name: &str,
    shape: &[usize],
) -> Result<Option<Tensor>, CheckpointError> {
    let Some(opened) = place.open()? else { return Ok(None) };
    tensor(&place.path, format, name, shape, &opened.map()?).map(Some)
}

/// Where the elements begin in a file, if it has the `shape` it must have; none of them is looked at. `None` where there
/// is no such file.
pub(super) fn offset(
    place: &Place,
    format: Format,
    name: &str,
    shape: &[usize],
) -> Result<Option<u64>, CheckpointError> {
    let Some(opened) = place.open()? else { return Ok(None) };
    let bytes = opened.map()?;
    let payload = payload(&place.path, format, name, shape, &bytes)?;
    Ok(Some((bytes.len() - payload.len()) as u64))
}

fn tensor(file: &Path, format: Format, name: &str, shape: &[usize], bytes: &Bytes) -> Result<Tensor, CheckpointError> {
    Tensor::new(name, format.element(), shape.to_vec(), payload(file, format, name, shape, bytes)?)
}

fn payload(file: &Path, format: Format, name: &str, shape: &[usize], bytes: &Bytes) -> Result<Bytes, CheckpointError> {
    let (found, payload) = read(file, format, bytes)?;
    if found != shape {
        return Err(CheckpointError::tensor(file, name, format!("shape {shape:?}"), format!("{found:?}")));
    }
    Ok(payload)
}

/// The shape and the payload of a file, which is known to be of the shape's size.
fn read(file: &Path, format: Format, bytes: &Bytes) -> Result<(Vec<usize>, Bytes), CheckpointError> {
    let error = |expected: String, found: String| CheckpointError::file(file, expected, found);
    let in_file = counted(bytes.len(), "byte");
    let (extension, dimensions) = (format.extension(), dimensions(file, format, bytes)?);
    let header = PREFIX + 8 * (dimensions + 1);
    let Some(words) = bytes.get(PREFIX..header) else {
        return Err(error(format!("a {extension} header of {header} bytes for {dimensions} dimensions"), in_file));
    };
    let words: Vec<u64> = words.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect();
    let (shape, count) = words.split_at(dimensions);
    let count = count[0];
    let product = shape.iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
    if product != Some(count) {
        let expected = match product {
            Some(product) => format!("{} in the header, for its shape {shape:?}", counted_elements(product)),
            None => format!("a shape whose size can be counted, not {shape:?}"),
        };
        return Err(error(expected, counted_elements(count)));
    }
    // A product of sizes is at least as large as each, unless one is 0: then there are no elements, whatever the others.
    let sizes = shape.iter().map(|&dimension| usize::try_from(dimension)).collect::<Result<Vec<_>, _>>();
    let size = usize::try_from(count).ok().and_then(|count| format.element().bytes_for(count));
    let (Ok(shape), Some(size)) = (sizes, size) else {
        return Err(error("a size that memory can hold".into(), format!("{} {shape:?}", format.element())));
    };
    let payload = bytes.len() - header;
    if size != payload {
        let expected = format!("{size} bytes behind the header, for {} {shape:?}", format.element());
        return Err(error(expected, format!("{payload} of {in_file} in all")));
    }
    Ok((shape, bytes.slice(header..)))
}

fn counted_elements(count: u64) -> String {
    format!("{count} element{}", if count == 1 { "" } else { "s" })
}

/// Checks the magic and the version; how many dimensions the shape has.
fn dimensions(file: &Path, format: Format, bytes: &[u8]) -> Result<usize, CheckpointError> {
    let error = |expected: String, found: String| CheckpointError::file(file, expected, found);
    let extension = format.extension();
    let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(error(format!("a {extension} header"), counted(bytes.len(), "byte")));
    };
    let magic = format.magic();
    if !prefix.starts_with(magic) {
        let expected = format!("a {extension} file, which begins with \"{}\"", magic.escape_ascii());
        return Err(error(expected, format!("\"{}\"", prefix[..4].escape_ascii())));
    }
    let [_, version, dimensions] = [0, 4, 8].map(|at| u32::from_le_bytes(std::array::from_fn(|i| prefix[at + i])));
    match (format, version) {
        (Format::Q4, 1) => {
            let found = "version 1, the older form of symmetric blocks of 18 bytes (convert the original checkpoint \
                again, with `loquent quantize`)";
            return Err(error("version 2 of the .q4 format".into(), found.into()));
        }
        (_, version) if version != format.version() => {
            return Err(error(format!("version {} of the {extension} format", format.version()), version.to_string()));
        }
        _ => {}
    }
    match usize::try_from(dimensions) {
        Ok(dimensions) if dimensions <= MOST_DIMENSIONS => Ok(dimensions),
        _ => Err(error(format!("at most {MOST_DIMENSIONS} dimensions"), dimensions.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_letters_digits_and_hyphens() {
        assert_eq!(Format::F16.file_name("model.layers.0.A_log"), "model_layers_0_A_log.f16");
        assert_eq!(Format::Q4.file_name("a-b/ü.weight"), "a-b_ü_weight.q4");
    }
}
