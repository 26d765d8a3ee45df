//! The rows of the step in hand: one for each token that goes through the layers together.

use std::ops::Range;

use bevy_ecs::prelude::*;

/// The tokens of a step: a decode row of each sequence that is generating, beside chunks of the prompts being read.
#[derive(Resource, Clone, Debug, Default)]
pub struct Batch {
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// The position of each row in its own sequence, from 0.
    pub positions: Vec<u32>,
    /// Which rows belong to which sequence, in row order; together they cover all rows.
    pub spans: Vec<Span>,
}

/// Consecutive rows of one sequence at consecutive positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose rows they are.
    pub sequence: Entity,
    /// Which rows of the batch.
    pub rows: Range<usize>,
    /// Whether the last row's logits are wanted: not for the earlier chunks of a prompt.
    pub wants_logits: bool,
}

impl Batch {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing to compute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The rows whose logits are wanted and the sequence each belongs to, in row order: row `i` of the logits is the
    /// `i`-th of these.
    pub fn logit_rows(&self) -> impl Iterator<Item = (Entity, usize)> + '_ {
        self.spans.iter().filter(|span| span.wants_logits).map(|span| (span.sequence, span.rows.end - 1))
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.spans.clear();
    }

    /// Appends the rows of `sequence`: `tokens` at the positions from `first` on.
    pub fn push(&mut self, sequence: Entity, tokens: impl Iterator<Item = u32>, first: usize, wants_logits: bool) {
        let start = self.tokens.len();
        self.tokens.extend(tokens);
        let count = self.tokens.len() - start;
        self.positions.extend((first..first + count).map(|position| position as u32));
        self.spans.push(Span { sequence, rows: start..self.tokens.len(), wants_logits });
    }
}

/// How many rows a step may have at most. Sequences that generate come first; what is left goes to prompts.
///
/// A longer chunk reads a prompt faster, since each weight is converted once for all its rows; a shorter one gives a
/// host with a time budget finer steps.
#[derive(Resource, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRows(pub usize);

impl Default for MaxRows {
    fn default() -> Self {
        Self(256)
    }
}
