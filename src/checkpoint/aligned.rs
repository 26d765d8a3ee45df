//! Bytes at an address where elements of every type may begin.

#![forbid(unsafe_code)]

use std::io::{self, Read};

/// Memory that is filled again and again, and grows to the most it had to hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignedBytes {
    /// Words, so that they are aligned.
    words: Vec<u32>,
    /// Bytes that are filled.
    length: usize,
}

impl AlignedBytes {
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::default();
        copy.room(bytes.len()).copy_from_slice(bytes);
        copy.length = bytes.len();
        copy
    }

    /// Reads as many bytes in place of what was there; none are if reading fails.
    pub(crate) fn read(&mut self, from: &mut impl Read, length: usize) -> io::Result<()> {
        self.length = 0;
        from.read_exact(self.room(length))?;
        self.length = length;
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        if self.words.len() * size_of::<u32>() < length {
            self.words.resize(length.div_ceil(size_of::<u32>()), 0);
        }
        &mut bytemuck::cast_slice_mut(&mut self.words)[..length]
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}
