//! Places in a buffer that caches are in: one buffer a layer and kind, so that a dispatch finds all sequences of a batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Hands out places of equal size, by number.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: Vec<u32>,
    made: u32,
    copies: Vec<(u32, u32)>,
}

/// The first place stays as it was made: zeros.
const ZEROS: u32 = 0;

impl Default for State {
    fn default() -> Self {
        Self { free: Vec::new(), made: ZEROS + 1, copies: Vec::new() }
    }
}

/// A place of a pool, given back when it is dropped. A clone is another place, to which the contents are copied before
/// the next step.
#[derive(Debug)]
pub struct Slot {
    pool: Pool,
    index: u32,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place with anything in it.
    #[must_use]
    pub fn take(&self) -> Slot {
        let mut state = self.state();
        let index = state.free.pop().unwrap_or_else(|| {
            state.made += 1;
            state.made - 1
        });
        Slot { pool: self.clone(), index }
    }

    /// A place that holds zeros when the next step begins.
    #[must_use]
    pub fn take_zeros(&self) -> Slot {
        let slot = self.take();
        self.state().copies.push((ZEROS, slot.index));
        slot
    }

    /// How many places the buffer must have.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.state().made
    }

    /// Always false: there is the one with the zeros.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Moves the copies that must come before the next step, in order, to the end of `copies`.
    pub(super) fn drain_copies(&self, copies: &mut Vec<(u32, u32)>) {
        copies.append(&mut self.state().copies);
    }
}

impl Slot {
    /// Its number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl Clone for Slot {
    fn clone(&self) -> Self {
        let slot = self.pool.take();
        self.pool.state().copies.push((self.index, slot.index));
        slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.state().free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_clones_are_copied_in_order() {
        let pool = Pool::default();
        let (first, second) = (pool.take_zeros(), pool.take());
        assert_eq!((first.index(), second.index(), pool.len()), (1, 2, 3));
        drop(second);
        let copy = first.clone();
        assert_eq!((copy.index(), pool.len()), (2, 3));
        let mut copies = Vec::new();
        pool.drain_copies(&mut copies);
        assert_eq!(copies, [(0, 1), (1, 2)]);
        pool.drain_copies(&mut copies);
        assert_eq!(copies.len(), 2);
    }
}
