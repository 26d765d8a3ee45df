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
    /// Whether the logits of its last token pick the next: not for the earlier chunks of a prompt.
    pub picks: bool,
    /// How many rows at its end are of tokens that were only [guessed](super::draft::Drafted) to follow. Each picks as well, if
    /// the one before it has picked its token.
    pub drafts: usize,
}

impl Span {
    /// Whether a token is picked from the logits of this row of the batch, or may be.
    #[must_use]
    pub fn picks_at(&self, row: usize) -> bool {
        self.picks && self.drafts_before(row).is_some()
    }

    /// How many guessed tokens lie between those that the sequence has and the pick of this row of the batch; `None` of a row
    /// before its last token.
    #[must_use]
    pub fn drafts_before(&self, row: usize) -> Option<usize> {
        (row + 1 + self.drafts).checked_sub(self.rows.end)
    }

    /// Its rows that are of tokens that the sequence has.
    #[must_use]
    pub fn certain(&self) -> usize {
        self.rows.len() - self.drafts
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

    /// The guessed tokens that the pick of a row would follow, after all that its sequence has: for masks and grammars, which
    /// have to know what a row's logits come after.
    #[must_use]
    pub fn drafts_before(&self, span: &Span, row: usize) -> &[u32] {
        let drafts = span.drafts_before(row).unwrap_or(0);
        &self.tokens[row + 1 - drafts..=row]
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
        self.spans.push(Span { sequence, rows: start..end, logits_from, picks, drafts: 0 });
    }

    /// Appends `drafts` to the rows that were pushed last: tokens that may follow them.
    pub fn push_drafts(&mut self, drafts: &[u32]) {
        let (Some(span), Some(&last)) = (self.spans.last_mut(), self.positions.last()) else { return };
        self.tokens.extend(drafts);
        self.positions.extend((1..=drafts.len() as u32).map(|ahead| last + ahead));
        span.rows.end += drafts.len();
        span.drafts += drafts.len();
    }
}
