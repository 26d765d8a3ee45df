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
    /// Those among them whose logits are wanted, from here on to the last: none of an earlier chunk of a prompt, unless
    /// its sequence has [`LogitsFrom`](super::sequence::LogitsFrom).
    pub logits_from: usize,
    /// Whether the last row's logits pick a token: not for the earlier chunks of a prompt.
    pub picks: bool,
}

impl Span {
    /// Whether a token is picked from the logits of this row of the batch.
    #[must_use]
    pub fn picks_at(&self, row: usize) -> bool {
        self.picks && row + 1 == self.rows.end
    }
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

    /// The rows whose logits are wanted and the span each belongs to, in row order. The head computes them in groups:
    /// see [`Cursor::logit_rows`](super::cursor::Cursor::logit_rows).
    pub fn logit_rows(&self) -> impl Iterator<Item = (&Span, usize)> {
        self.spans.iter().flat_map(|span| (span.logits_from..span.rows.end).map(move |row| (span, row)))
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.spans.clear();
    }

    /// Appends the rows of `sequence`: `tokens` at the positions from `first` on. Logits are wanted of those at the
    /// positions from `logits_from` on.
    pub fn push(
        &mut self,
        sequence: Entity,
        tokens: impl Iterator<Item = u32>,
        first: usize,
        logits_from: usize,
        picks: bool,
    ) {
        let start = self.tokens.len();
        self.tokens.extend(tokens);
        let (end, count) = (self.tokens.len(), self.tokens.len() - start);
        self.positions.extend((first..first + count).map(|position| position as u32));
        let logits_from = start + logits_from.saturating_sub(first).min(count);
        self.spans.push(Span { sequence, rows: start..end, logits_from, picks });
    }
}
