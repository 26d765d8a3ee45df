//! How a file begins, and what else stands where a GGUF file should.

use std::path::Path;

use bytes::Bytes;

use super::cursor::Cursor;
use crate::checkpoint::error::{CheckpointError, counted};

/// How every GGUF file begins.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// The one version that is read. The one before differs from it in name only, and is older than the models we run.
const VERSION: u32 = 3;
/// A key's length, a character of it, a type, and a value of a byte.
const SMALLEST_PAIR: u64 = 13;
/// A name's length, the number of dimensions, a type and an offset.
const SMALLEST_INFO: u64 = 24;
/// A hundred times what any file has.
const MOST: u64 = 1 << 16;

/// How many things a file says it has.
pub(super) struct Header {
    pub(super) tensors: u64,
    pub(super) pairs: u64,
}

impl Header {
    pub(super) fn read(file: &Path, bytes: &Bytes, cursor: &mut Cursor<'_>) -> Result<Self, CheckpointError> {
        if !bytes.starts_with(MAGIC) {
            let expected = "a GGUF file, which begins with \"GGUF\"";
            return Err(CheckpointError::file(file, expected, kind(bytes)));
        }
        cursor.take(MAGIC.len() as u64, "the magic")?;
        let version = cursor.u32("a version")?;
        if version != VERSION {
            let found = match version {
                1 => "version 1, of 2023, with counts of 32 bits (convert the model again)".to_owned(),
                2 => "version 2, of 2023 (convert the model again)".to_owned(),
                // As llama.cpp tells them: no version will ever have sixteen bits and none of the lower ones.
                _ if version & 0xffff == 0 && version != 0 => format!(
                    "{version:#010x}: a file for big-endian machines, of version {} (convert the model again, for little-endian ones)",
                    version.swap_bytes()
                ),
                _ => format!("version {version}"),
            };
            return Err(CheckpointError::file(file, format!("version {VERSION} of GGUF"), found));
        }
        let (tensors, pairs) = (cursor.u64("a number of tensors")?, cursor.u64("a number of keys")?);
        for (count, what) in [(tensors, "tensors"), (pairs, "keys")] {
            if count > MOST {
                return Err(CheckpointError::file(file, format!("at most {MOST} {what}"), count.to_string()));
            }
        }
        cursor.check_count(pairs, SMALLEST_PAIR, "keys")?;
        cursor.check_count(tensors, SMALLEST_INFO, "tensors")?;
        Ok(Self { tensors, pairs })
    }
}

/// What a file is that is no GGUF file, in a message's words.
pub(super) fn kind(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 9] = [
        (b"FUGG", "\"FUGG\": a GGUF file for big-endian machines"),
        (b"lmgg", "a GGML file, from before GGUF (convert the model again)"),
        (b"fmgg", "a GGML file, from before GGUF (convert the model again)"),
        (b"tjgg", "a GGML file, from before GGUF (convert the model again)"),
        (b"algg", "a GGML adapter, from before GGUF"),
        (b"PK\x03\x04", "a zip archive, perhaps of PyTorch or of a package (unpack it)"),
        (b"\x1f\x8b", "a gzip archive (unpack it)"),
        (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer (fetch the content with `git lfs pull`)"),
        (b"<!DOCTYPE html", "a web page, not the file it should have led to"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return (*what).to_owned();
    }
    let is_safetensors = bytes.split_first_chunk::<8>().is_some_and(|(length, rest)| {
        let length = u64::from_le_bytes(*length);
        (2..=rest.len() as u64).contains(&length) && rest.starts_with(b"{\"")
    });
    if is_safetensors {
        return "a safetensors file (name the directory that it is in)".to_owned();
    }
    match bytes {
        [] => "an empty file".to_owned(),
        [0, 0, 0, 0, ..] => "zeros: a file that was never written to its end".to_owned(),
        [a, b, c, d, ..] => format!("\"{}\"", [*a, *b, *c, *d].escape_ascii()),
        short => counted(short.len(), "byte"),
    }
}
