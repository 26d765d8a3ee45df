//! Reads a file from front to back and never past its end. What it hands out are ranges of the file: nothing is copied
//! or allocated by a length that a file states.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::error::{CheckpointError, counted};

/// A place in a file.
pub(super) struct Cursor<'a> {
    file: &'a Path,
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a Path, bytes: &'a Bytes) -> Self {
        Self { file, bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes from here to the end.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Passes over `count` bytes and says where they are; `what` they are is for the message if there are not so many.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Result<Range<usize>, CheckpointError> {
        match usize::try_from(count) {
            Ok(count) if count <= self.left() => {
                let start = self.at;
                self.at += count;
                Ok(start..self.at)
            }
            _ => {
                let expected = format!("{what} of {count} bytes at byte {}", self.at);
                Err(CheckpointError::file(self.file, expected, self.only_left()))
            }
        }
    }

    /// Refuses a `count` of things of at least `least` bytes each, which is more than the rest of the file can hold.
    pub(super) fn check_count(&self, count: u64, least: u64, what: &str) -> Result<(), CheckpointError> {
        if count.checked_mul(least).is_some_and(|bytes| bytes <= self.left() as u64) {
            return Ok(());
        }
        let expected = format!("{count} {what} from byte {} on", self.at);
        Err(CheckpointError::file(self.file, expected, self.only_left()))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, CheckpointError> {
        self.word(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, CheckpointError> {
        self.word(what).map(u64::from_le_bytes)
    }

    /// A string's length, and where its bytes are.
    pub(super) fn string(&mut self, what: &str) -> Result<Range<usize>, CheckpointError> {
        let length = self.u64(what)?;
        self.take(length, what)
    }

    /// A string that must be text.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, CheckpointError> {
        let range = self.string(what)?;
        std::str::from_utf8(&self.bytes[range.clone()]).map_err(|error| {
            let found = format!("an invalid byte at byte {}", range.start + error.valid_up_to());
            CheckpointError::file(self.file, format!("{what} in UTF-8"), found)
        })
    }

    fn word<const N: usize>(&mut self, what: &str) -> Result<[u8; N], CheckpointError> {
        let range = self.take(N as u64, what)?;
        Ok(std::array::from_fn(|index| self.bytes[range.start + index]))
    }

    fn only_left(&self) -> String {
        format!("{} left of {} (truncated?)", counted(self.left(), "byte"), self.bytes.len())
    }
}
