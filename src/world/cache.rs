//! What a sequence remembers: one cache entity per layer, related to both. Despawning the sequence despawns them,
//! cloning it with `linked_cloning` forks them.

use std::ops::Range;
use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::storage::Storage;

/// The sequence this cache belongs to.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = Caches)]
pub struct OfSequence(pub Entity);

/// A sequence's cache entities, in the order of the layers.
#[derive(Component, Clone, Debug, Default)]
#[relationship_target(relationship = OfSequence, linked_spawn)]
pub struct Caches(Vec<Entity>);

impl Caches {
    /// The cache entity of the layer at `index`.
    #[must_use]
    pub fn of_layer(&self, index: usize) -> Option<Entity> {
        self.0.get(index).copied()
    }
}

/// The layer this cache belongs to.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = LayerCaches)]
pub struct OfLayer(pub Entity);

/// A layer's cache entities, one for each sequence.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = OfLayer, linked_spawn)]
pub struct LayerCaches(Vec<Entity>);

/// Keys and values of an attention layer: a table of blocks, which a clone shares until it writes into them.
#[derive(Component)]
pub struct KvCache<S: Storage> {
    blocks: Vec<Arc<S::KvBlock>>,
    positions: usize,
}

impl<S: Storage> KvCache<S> {
    /// The positions in a block.
    pub const BLOCK: usize = 32;

    /// One that holds `positions` in `blocks` already; `None` if those are not as many as they fill.
    #[must_use]
    pub fn of_blocks(blocks: Vec<S::KvBlock>, positions: usize) -> Option<Self> {
        let fits = blocks.len() == positions.div_ceil(Self::BLOCK);
        fits.then(|| Self { blocks: blocks.into_iter().map(Arc::new).collect(), positions })
    }

    /// How many positions it holds.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The table: position `p` is in block `p / BLOCK`, at the place `p % BLOCK`. What is in the places after the last
    /// position is unspecified.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<S::KvBlock>] {
        &self.blocks
    }

    /// Forgets the positions from `positions` on, if there are any.
    pub fn truncate(&mut self, positions: usize) {
        self.positions = self.positions.min(positions);
        self.blocks.truncate(self.positions.div_ceil(Self::BLOCK));
    }

    /// Appends `count` positions. For each block that gets some of them, `write` is told its places and which of the new
    /// positions comes first. Full blocks stay where they are; the last one is copied if a clone shares it.
    pub fn extend(
        &mut self,
        count: usize,
        new_block: impl Fn() -> S::KvBlock,
        mut write: impl FnMut(&mut S::KvBlock, Range<usize>, usize),
    ) {
        let mut written = 0;
        while written < count {
            let place = self.positions % Self::BLOCK;
            let places = place..Self::BLOCK.min(place + count - written);
            if place == 0 {
                self.blocks.push(Arc::new(new_block()));
            }
            let Some(block) = self.blocks.last_mut() else { return };
            write(Arc::make_mut(block), places.clone(), written);
            written += places.len();
            self.positions += places.len();
        }
    }
}

impl<S: Storage> Default for KvCache<S> {
    fn default() -> Self {
        Self { blocks: Vec::new(), positions: 0 }
    }
}

/// Costs little: the blocks are shared.
impl<S: Storage> Clone for KvCache<S> {
    fn clone(&self) -> Self {
        Self { blocks: self.blocks.clone(), positions: self.positions }
    }
}

/// The memory of a delta-net layer: its size does not depend on how much was read.
///
/// It holds the state at the last multiple of 16 positions and the rows since. Forks share all of it: a part is copied
/// when one of them first writes to it.
#[derive(Component)]
pub struct DeltaState<S: Storage> {
    /// How many there were.
    positions: usize,
    /// How many of them the state is behind.
    since: usize,
    /// All heads at the last multiple.
    pub state: Arc<S::DeltaBlock>,
    /// Keys, pseudo-values and decays of the rows since.
    pub rows: Arc<S::DeltaBlock>,
    /// The convolution's inputs of the rows since, and of those before them that it looks back at.
    pub inputs: Arc<S::DeltaBlock>,
    /// Itself at earlier positions, the earliest first: what it can go back to.
    kept: Vec<Self>,
}

// Not derived: that would ask for `S: Clone`, and forks would silently go without.
impl<S: Storage> Clone for DeltaState<S> {
    fn clone(&self) -> Self {
        Self {
            positions: self.positions,
            since: self.since,
            state: Arc::clone(&self.state),
            rows: Arc::clone(&self.rows),
            inputs: Arc::clone(&self.inputs),
            kept: self.kept.clone(),
        }
    }
}

impl<S: Storage> DeltaState<S> {
    /// The positions from one state that is kept to the next.
    pub const CHUNK: usize = 16;

    /// That of a sequence of which nothing was read: its parts are as the storage wants them for that.
    #[must_use]
    pub fn new([state, rows, inputs]: [Arc<S::DeltaBlock>; 3]) -> Self {
        Self { positions: 0, since: 0, state, rows, inputs, kept: Vec::new() }
    }

    /// One that has read `positions`, of which its state is behind by the last `since`; `None` if a state is never behind by
    /// so many there.
    #[must_use]
    pub fn read(positions: usize, since: usize, parts: [S::DeltaBlock; 3]) -> Option<Self> {
        let multiple = positions.checked_sub(since)?;
        (since <= Self::CHUNK && multiple.is_multiple_of(Self::CHUNK)).then(|| Self {
            positions,
            since,
            ..Self::new(parts.map(Arc::new))
        })
    }

    /// How many positions it has read.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// How many of them came after the last multiple.
    #[must_use]
    pub fn since(&self) -> usize {
        self.since
    }

    /// Counts rows that were read: whoever computes them has left the parts as they are after them.
    pub fn advance(&mut self, rows: usize) {
        self.positions += rows;
        self.since = self.positions % Self::CHUNK;
    }

    /// As [`advance`](Self::advance), where the state is brought to a multiple by the row after it, and not by the row that
    /// reaches it: the last row can then always be taken back.
    pub fn advance_behind(&mut self, rows: usize) {
        self.positions += rows;
        self.since = if self.positions == 0 { 0 } else { (self.positions - 1) % Self::CHUNK + 1 };
    }

    /// Takes rows back until `positions` are left, as if the others had never been read.
    ///
    /// # Errors
    /// If fewer were read, or the last multiple lies beyond: what was before it is gone.
    pub fn truncate(&mut self, positions: usize) -> Result<(), TruncateError> {
        let held = self.positions;
        let kept = held - self.since;
        if !(kept..=held).contains(&positions) {
            return Err(TruncateError { positions, kept, held });
        }
        self.since = positions - kept;
        self.positions = positions;
        Ok(())
    }

    /// Keeps itself as it is now, to come back to, as one of at most `most`: the earliest makes room.
    pub fn keep(&mut self, most: usize) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.retain(|kept| kept.positions < self.positions);
        kept.push(self.clone());
        self.kept = kept;
        self.kept.drain(..self.kept.len().saturating_sub(most));
    }

    /// The most positions, and no more than these, that it can [go back](Self::go_back) to.
    #[must_use]
    pub fn nearest(&self, positions: usize) -> usize {
        let reaches =
            |state: &Self| (state.positions - state.since <= positions).then_some(state.positions.min(positions));
        std::iter::once(self).chain(&self.kept).filter_map(reaches).max().unwrap_or(0)
    }

    /// As [`truncate`](Self::truncate), through what it has kept: of that, nothing beyond `positions` is left.
    ///
    /// # Errors
    /// If it is none of the positions that it can go back to.
    pub fn go_back(&mut self, positions: usize) -> Result<(), TruncateError> {
        let mut kept = std::mem::take(&mut self.kept);
        let gone = self.truncate(positions).or_else(|error| {
            let back = kept.iter_mut().rev().find_map(|state| state.truncate(positions).ok().map(|()| state.clone()));
            *self = back.ok_or(error)?;
            Ok(())
        });
        if gone.is_ok() {
            kept.retain(|kept| kept.positions <= positions);
        }
        self.kept = kept;
        gone
    }
}

/// The memory of a delta net cannot go back, or forward, to that many positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot take back rows until {positions} are left: expected {kept} to {held}")]
pub struct TruncateError {
    /// How many were to be left.
    pub positions: usize,
    /// The last multiple, which is the fewest.
    pub kept: usize,
    /// How many were read, which is the most.
    pub held: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::storage::Shapes;

    #[test]
    fn a_state_goes_back_to_what_it_kept_and_forgets_what_came_after() {
        let mut state = DeltaState::<Shapes>::new([(); 3].map(Arc::new));
        for kept in [20, 40, 70] {
            state.advance(kept - state.positions());
            state.keep(2);
        }
        state.advance(100 - state.positions());
        // From 96 on, from 64 to 70, and from 32 to 40; that of 20 had to make room.
        let nearest = [100, 97, 96, 95, 70, 64, 63, 40, 33, 31, 20].map(|positions| state.nearest(positions));
        assert_eq!(nearest, [100, 97, 96, 70, 70, 64, 40, 40, 33, 0, 0]);
        assert_eq!(state.go_back(50).unwrap_err().kept, 96);
        assert_eq!(state.nearest(95), 70, "it is as it was");
        state.go_back(36).unwrap();
        assert_eq!((state.positions(), state.since(), state.nearest(40), state.nearest(31)), (36, 4, 36, 0));
    }

    #[test]
    fn a_state_that_stays_behind_gives_back_a_row_at_every_position() {
        let mut state = DeltaState::<Shapes>::new([(); 3].map(Arc::new));
        for position in 1..50 {
            state.advance_behind(1);
            let mut shorter = state.clone();
            shorter.truncate(position - 1).unwrap();
            assert_eq!(shorter.positions(), position - 1);
            assert_eq!(shorter.positions() - shorter.since(), (position - 1) / 16 * 16);
        }
    }

    #[test]
    fn rows_are_taken_back_as_far_as_the_last_multiple() {
        let mut state = DeltaState::<Shapes>::new([(); 3].map(Arc::new));
        state.advance(37);
        assert_eq!(state.truncate(38), Err(TruncateError { positions: 38, kept: 32, held: 37 }));
        assert_eq!(state.truncate(31), Err(TruncateError { positions: 31, kept: 32, held: 37 }));
        for positions in [37, 35, 32] {
            state.truncate(positions).unwrap();
            assert_eq!((state.positions(), state.since()), (positions, positions - 32));
        }
        assert!(state.truncate(33).is_err(), "what was taken back is gone");
    }
}
