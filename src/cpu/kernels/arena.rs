//! Memory for packed weights: one mapping for a whole model, on large pages where the system has them.
//!
//! A token reads every weight once, so that on pages of 4 kB each few hundred nanoseconds of reading cost a walk of the
//! page tables: streaming reaches 26 to 29 GB/s there and 30 to 31 GB/s on pages of 2 MB, side by side.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions};

/// Pieces begin at multiples of this: where a line of the cache does.
const ALIGNMENT: usize = 64;

/// Hands out memory for panels, each byte once.
pub struct Arena {
    /// Never touched again but through the pieces handed out.
    map: Arc<MmapMut>,
    start: *mut u8,
    len: usize,
    used: usize,
}

impl Arena {
    /// Memory for pieces of so many bytes, all zero. The system provides it as it is written to.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(pieces: impl IntoIterator<Item = usize>) -> io::Result<Self> {
        let bytes = total(pieces)?;
        Self::with(bytes, MmapMut::map_anon(bytes.max(1))?)
    }

    /// The same for pieces of which only some will be written to: they may be more than the system has room for.
    ///
    /// # Errors
    /// There is no address space for them.
    pub fn for_some_of(pieces: impl IntoIterator<Item = usize>) -> io::Result<Self> {
        let bytes = total(pieces)?;
        let map = MmapOptions::new().len(bytes.max(1)).no_reserve_swap().map_anon()?;
        Self::with(bytes, map)
    }

    fn with(bytes: usize, mut map: MmapMut) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!("no large pages: {error}");
        }
        let start = map.as_mut_ptr();
        assert!(start.addr().is_multiple_of(ALIGNMENT), "maps begin at a page");
        Ok(Self { map: Arc::new(map), start, len: bytes, used: 0 })
    }

    /// The next `bytes` bytes.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn take(&mut self, bytes: usize) -> PanelBox {
        let left = self.len - self.used;
        assert!(bytes <= left, "{bytes} bytes of {left} left");
        // SAFETY: `used + bytes` lies within the map, as asserted.
        let start = unsafe { self.start.add(self.used) };
        // What is left is a multiple of the alignment.
        self.used += bytes.next_multiple_of(ALIGNMENT);
        PanelBox { start, len: bytes, map: Arc::clone(&self.map) }
    }
}

/// The bytes of all pieces, each at a multiple of [`ALIGNMENT`].
fn total(pieces: impl IntoIterator<Item = usize>) -> io::Result<usize> {
    let add = |sum: usize, piece: usize| sum.checked_add(piece.checked_next_multiple_of(ALIGNMENT)?);
    Ok(pieces.into_iter().try_fold(0, add).ok_or(io::ErrorKind::OutOfMemory)?)
}

/// Bytes that own their place in an [`Arena`].
pub struct PanelBox {
    start: *mut u8,
    len: usize,
    /// Keeps the memory.
    map: Arc<MmapMut>,
}

// SAFETY: a box is the only way to its bytes, as a `Box` would be, and they are plain data.
unsafe impl Send for PanelBox {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for PanelBox {}

impl Deref for PanelBox {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes lie in `map`, which lives as long as `self`; nobody else has them.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for PanelBox {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl std::fmt::Debug for PanelBox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of the {} bytes at {:?}", self.len, self.map.len(), self.map.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_apart_and_outlive_their_arena() {
        let mut arena = Arena::new([100, 64, 300]).unwrap();
        let (mut first, second, third) = (arena.take(100), arena.take(64), arena.take(300));
        drop(arena);
        first.fill(7);
        assert!(second.iter().chain(&*third).all(|&byte| byte == 0));
        assert_eq!(*first, [7; 100]);
        for piece in [&first, &second, &third] {
            assert!(piece.as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
    }

    #[test]
    #[should_panic(expected = "200 bytes of 128 left")]
    fn no_byte_is_handed_out_twice() {
        let mut arena = Arena::new([200]).unwrap();
        let _first = arena.take(100);
        arena.take(200);
    }

    #[test]
    fn of_more_than_there_is_room_for_some_may_be_written() {
        let mut arena = Arena::for_some_of([64, 1 << 44, 64]).unwrap();
        let (mut first, _, mut last) = (arena.take(64), arena.take(1 << 44), arena.take(64));
        first.fill(1);
        last.fill(2);
        assert_eq!((&*first, &*last), (&[1; 64][..], &[2; 64][..]));
    }

    #[test]
    fn more_than_can_be_counted_is_an_error() {
        assert!(Arena::new([usize::MAX / 4]).is_err());
        assert!(Arena::new([usize::MAX / 2, usize::MAX / 2, 1]).is_err());
    }
}
