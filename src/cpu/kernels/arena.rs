//! Memory for packed weights: one mapping for a whole model, on large pages where the system has them.
//!
//! A token reads every weight once, so that on pages of 4 kB each few hundred nanoseconds of reading cost a walk of the
//! page tables: streaming reaches 26 to 29 GB/s there and 30 to 31 GB/s on pages of 2 MB, side by side.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::MmapMut;

use super::matmul_q4::Panel;

/// Hands out memory for panels, each once.
pub struct Arena {
    /// Never touched again but through the pieces handed out.
    map: Arc<MmapMut>,
    start: *mut Panel,
    len: usize,
    used: usize,
}

impl Arena {
    /// Memory for `panels` panels, all zero. The system provides it as it is written to.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(panels: usize) -> io::Result<Self> {
        let bytes = panels.checked_mul(size_of::<Panel>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut map = MmapMut::map_anon(bytes.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!("no large pages: {error}");
        }
        let start = map.as_mut_ptr().cast::<Panel>();
        assert!(start.is_aligned(), "maps begin at a page");
        Ok(Self { map: Arc::new(map), start, len: panels, used: 0 })
    }

    /// The next `count` panels.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn take(&mut self, count: usize) -> PanelBox {
        assert!(count <= self.len - self.used, "{count} panels of {} left", self.len - self.used);
        // SAFETY: `used + count` lies within the map, as asserted.
        let start = unsafe { self.start.add(self.used) };
        self.used += count;
        PanelBox { start, len: count, map: Arc::clone(&self.map) }
    }
}

/// Panels that own their place in an [`Arena`].
pub struct PanelBox {
    start: *mut Panel,
    len: usize,
    /// Keeps the memory.
    map: Arc<MmapMut>,
}

// SAFETY: a box is the only way to its panels, as a `Box` would be, and panels are plain data.
unsafe impl Send for PanelBox {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for PanelBox {}

impl Deref for PanelBox {
    type Target = [Panel];

    fn deref(&self) -> &[Panel] {
        // SAFETY: the panels lie in `map`, which lives as long as `self`; any bytes are panels; nobody else has them.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for PanelBox {
    fn deref_mut(&mut self) -> &mut [Panel] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl std::fmt::Debug for PanelBox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} panels of the {} bytes at {:?}", self.len, self.map.len(), self.map.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_apart_and_outlive_their_arena() {
        let mut arena = Arena::new(5).unwrap();
        let (mut first, second) = (arena.take(2), arena.take(3));
        drop(arena);
        bytemuck::cast_slice_mut::<Panel, u8>(&mut first).fill(7);
        assert!(bytemuck::cast_slice::<Panel, u8>(&second).iter().all(|&byte| byte == 0));
        assert!(bytemuck::cast_slice::<Panel, u8>(&first).iter().all(|&byte| byte == 7));
    }

    #[test]
    #[should_panic(expected = "2 panels of 1 left")]
    fn no_panel_is_handed_out_twice() {
        let mut arena = Arena::new(2).unwrap();
        let _first = arena.take(1);
        arena.take(2);
    }

    #[test]
    fn more_than_can_be_counted_is_an_error() {
        assert!(Arena::new(usize::MAX / 4).is_err());
    }
}
