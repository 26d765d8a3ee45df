//! The keys and values at the beginning of a file. Values stay where they are: what is kept of each is its type and its
//! place, which is known to lie in the file, so that a vocabulary takes no memory until it is asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::cursor::Cursor;
use super::value::{Kind, Value};
use crate::checkpoint::error::{CheckpointError, Excerpt, Faults};

/// llama.cpp's limit of an array's length.
const LONGEST_ARRAY: u64 = 1 << 30;

/// All keys of a file with their values.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    file: PathBuf,
    bytes: Bytes,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads `count` pairs. What is wrong with one of them and leaves the next one's place known is told to `faults`.
    pub(super) fn read(
        file: &Path,
        bytes: &Bytes,
        cursor: &mut Cursor<'_>,
        count: u64,
        faults: Faults<'_>,
    ) -> Result<Self, CheckpointError> {
        let mut values = BTreeMap::new();
        for index in 0..count {
            let at = cursor.at();
            let key = cursor.text("a key")?;
            let value = read_value(file, bytes, cursor, key)?;
            if key.is_empty() {
                let expected = format!("a name for key {index}, at byte {at}");
                faults(CheckpointError::file(file, expected, "none"))?;
            } else if values.insert(key.to_owned(), value).is_some() {
                faults(CheckpointError::field(file, shown(key), "every key once", "it twice"))?;
            }
        }
        Ok(Self { file: file.into(), bytes: bytes.clone(), values })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// An error about a key, with what it holds.
    pub(super) fn error(&self, key: &str, expected: impl Into<String>) -> CheckpointError {
        let found = self.values.get(key).map_or_else(|| "no such key".to_owned(), |value| value.describe(&self.bytes));
        CheckpointError::field(&self.file, shown(key), expected, found)
    }

    /// Every key and its value in a message's words, in the order of the keys.
    pub(super) fn described(&self) -> impl Iterator<Item = (&str, String)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.describe(&self.bytes)))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The type of a key's value.
    pub(super) fn kind(&self, key: &str) -> Option<Kind> {
        self.values.get(key).map(Value::kind)
    }

    /// An integer from 0 on, however wide.
    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>, CheckpointError> {
        self.wanted(key, "an integer from 0 on", |value, bytes| u64::try_from(value.integer(bytes)?).ok())
    }

    pub(super) fn required_integer(&self, key: &str) -> Result<u64, CheckpointError> {
        self.integer(key)?.ok_or_else(|| self.error(key, "an integer from 0 on"))
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.wanted(key, "a finite number in floating point", |value, bytes| {
            value.float(bytes).filter(|number| number.is_finite())
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.wanted(key, "true or false", Value::flag)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, CheckpointError> {
        self.wanted(key, "a string in UTF-8", Value::text)
    }

    /// The integers of an array, however wide.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i128>>, CheckpointError> {
        self.items(key, "an array of integers", Value::integer)
    }

    pub(super) fn flags(&self, key: &str) -> Result<Option<Vec<bool>>, CheckpointError> {
        self.items(key, "an array of true or false", Value::flag)
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, CheckpointError> {
        self.items(key, "an array of strings in UTF-8", Value::text)
    }

    /// Whether a key holds an array.
    pub(super) fn is_array(&self, key: &str) -> bool {
        self.kind(key) == Some(Kind::Array)
    }

    fn wanted<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value, &'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        read(value, &self.bytes).map(Some).ok_or_else(|| self.error(key, expected))
    }

    fn items<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value, &'a [u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, CheckpointError> {
        self.wanted(key, expected, |value, bytes| value.items(bytes)?.map(|item| read(&item, bytes)).collect())
    }
}

/// A key as a message may show it: a file chooses it.
pub(super) fn shown(key: &str) -> String {
    key.escape_debug().take(120).collect()
}

/// Checks that a value lies in the file, and passes over it.
fn read_value(file: &Path, bytes: &[u8], cursor: &mut Cursor<'_>, key: &str) -> Result<Value, CheckpointError> {
    let kind = read_kind(file, cursor, key)?;
    if kind != Kind::Array {
        let at = read_single(file, bytes, cursor, key, kind)?;
        return Ok(Value::Single { kind, at });
    }
    let error = |expected: String, found: String| CheckpointError::field(file, shown(key), expected, found);
    let kind = read_kind(file, cursor, key)?;
    if kind == Kind::Array {
        return Err(error("an array of values".into(), "an array of arrays".into()));
    }
    let count = cursor.u64("an array's length")?;
    if count > LONGEST_ARRAY {
        return Err(error(format!("at most {LONGEST_ARRAY} values"), count.to_string()));
    }
    // A string is at least its length's eight bytes.
    let least = kind.size().unwrap_or(8);
    cursor.check_count(count, least as u64, &format!("values of {}", Excerpt(key)))?;
    let start = cursor.at();
    match kind.size() {
        Some(size) if kind != Kind::Bool => _ = cursor.take(count * size as u64, "an array")?,
        _ => {
            for _ in 0..count {
                read_single(file, bytes, cursor, key, kind)?;
            }
        }
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Value::Array { kind, count, at: start..cursor.at() })
}

fn read_kind(file: &Path, cursor: &mut Cursor<'_>, key: &str) -> Result<Kind, CheckpointError> {
    let id = cursor.u32("a value's type")?;
    Kind::of(id)
        .ok_or_else(|| CheckpointError::field(file, shown(key), "a type of values, from 0 to 12", format!("type {id}")))
}

/// The place of a value's bytes; of a string, those behind its length.
fn read_single(
    file: &Path,
    bytes: &[u8],
    cursor: &mut Cursor<'_>,
    key: &str,
    kind: Kind,
) -> Result<Range<usize>, CheckpointError> {
    let Some(size) = kind.size() else { return cursor.string("a string") };
    let at = cursor.take(size as u64, "a value")?;
    if kind == Kind::Bool && bytes[at.start] > 1 {
        let found = format!("a byte of {}", bytes[at.start]);
        return Err(CheckpointError::field(file, shown(key), "true or false, a byte of 1 or 0", found));
    }
    Ok(at)
}
