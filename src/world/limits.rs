//! How much the sequences of a world may take, of a step and of memory.

use bevy_ecs::prelude::*;

/// What all sequences together may take.
#[derive(Resource, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Resource, Clone, Debug, PartialEq))]
pub struct Limits {
    /// Rows that a step may have, at least one: a row of each sequence that generates, by turns where they are more, and
    /// what is left for prompts, in the order in which they came.
    ///
    /// A longer chunk reads a prompt faster, since each weight is converted once for all its rows; a shorter one gives a
    /// host with a time budget finer steps.
    pub rows: usize,
    /// Sequences that may run at once; others wait in the order in which they came.
    pub running: usize,
    /// Bytes that caches may take, as they are allocated: a sequence is let in when there is room for its prompt and one
    /// block more. Where running ones outgrow it, the one that came last gives up its caches, waits, and reads its tokens
    /// again. Blocks that forks share count for each of them.
    pub cache_bytes: Option<u64>,
    /// States of its delta nets that a conversation keeps at most, one a turn, to go back to where a turn is asked again or
    /// the template writes it otherwise afterwards. Each takes [`CacheCost::fixed`]; without them, all is read again.
    pub kept_states: usize,
    /// How many guesses each sequence has rows for in a step, as far as it has [some](super::draft::Drafted) and there is room.
    /// Where nothing is said, as many as make up for what their rows cost.
    pub drafts: Option<usize>,
}

impl Limits {
    /// The states that a sequence keeps at most, beside its own: a conversation alone has turns to go back to.
    #[must_use]
    pub fn kept_states_of(&self, is_conversation: bool) -> usize {
        if is_conversation { self.kept_states } else { 0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 256, running: usize::MAX, cache_bytes: None, kept_states: 4, drafts: None }
    }
}

/// What the caches of one sequence take on its model, in bytes. On the model entity; its backend says it.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
pub struct CacheCost {
    /// Whatever its length.
    pub fixed: u64,
    /// For each begun block of positions.
    pub block: u64,
    /// Positions in a block, at least one.
    pub positions: usize,
    /// Sequences whose caches there is room for at most, whatever their length.
    pub most_sequences: usize,
    /// Blocks that there is room for at most, of all sequences.
    pub most_blocks: u64,
}

impl CacheCost {
    /// Of a sequence of this many positions.
    #[must_use]
    pub fn of(&self, positions: usize) -> u64 {
        self.fixed.saturating_add(self.block.saturating_mul(self.blocks(positions)))
    }

    /// Of one that keeps so many states beside its own.
    #[must_use]
    pub fn of_keeping(&self, positions: usize, kept_states: usize) -> u64 {
        self.of(positions).saturating_add(self.fixed.saturating_mul(kept_states as u64))
    }

    /// The begun blocks of a sequence of this many positions.
    #[must_use]
    pub fn blocks(&self, positions: usize) -> u64 {
        positions.div_ceil(self.positions) as u64
    }
}
