//! Where in the step we are: what makes a step interruptible.

use std::ops::Range;

use bevy_ecs::prelude::*;

use super::batch::{Batch, Span};

/// What [`advance`](crate::schedule::advance) runs next.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// Between two steps: caches are whole, and a sequence may be cloned or despawned freely.
    #[default]
    Begin,
    /// This layer is next.
    Layer(usize),
    /// These logits are next.
    Head(HeadPiece),
}

/// A part of the end of a step, of one group of the batch's [`Batch::logit_rows`]: the logits that a slice of the head's rows
/// gives, or the picks of some of the group's rows; all at once, where nothing may interrupt. Slices follow one another until
/// the group's logits are complete, then its rows are picked from, and groups follow until the step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadPiece {
    group: Range<usize>,
    wanted: usize,
    vocab_size: usize,
    slice: Range<usize>,
    picks: Range<usize>,
}

/// How much a piece may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of a group.
    Whole,
    /// So many rows of the head matrix, and then picks of so many rows of logits.
    Slices { head: usize, picks: usize },
}

/// Rows whose logits are computed and kept at once, at most: 64 MB of them with a vocabulary of 248 320, while reading
/// the head matrix anew costs little beside multiplying by it so often.
const GROUP: usize = 64;

impl HeadPiece {
    /// The first piece of a step in which the logits of `wanted` rows are wanted, of the `vocab_size` that a head has.
    pub(crate) fn first(wanted: usize, vocab_size: usize, cut: Cut) -> Self {
        Self::of_group(0, wanted, vocab_size, cut)
    }

    fn of_group(start: usize, wanted: usize, vocab_size: usize, cut: Cut) -> Self {
        let group = start..wanted.min(start + GROUP);
        let (slice, picks) = match cut {
            // In the middle of a prompt no logits are wanted, and there is nothing to cut.
            _ if group.is_empty() => (0..vocab_size, 0..0),
            Cut::Whole => (0..vocab_size, 0..group.len()),
            Cut::Slices { head, .. } => (0..head.clamp(1, vocab_size), 0..0),
        };
        Self { group, wanted, vocab_size, slice, picks }
    }

    /// The piece after this one, `None` if it was the step's last.
    pub(crate) fn next(&self, cut: Cut) -> Option<Self> {
        if self.completes_step() {
            return None;
        }
        let (head, picks) = match cut {
            Cut::Whole => (usize::MAX, usize::MAX),
            Cut::Slices { head, picks } => (head.max(1), picks.max(1)),
        };
        if self.slice.end < self.vocab_size {
            let slice = self.slice.end..self.vocab_size.min(self.slice.end.saturating_add(head));
            return Some(Self { slice, ..self.clone() });
        }
        if self.picks.end < self.group.len() {
            let picks = self.picks.end..self.group.len().min(self.picks.end.saturating_add(picks));
            return Some(Self { slice: self.vocab_size..self.vocab_size, picks, ..self.clone() });
        }
        Some(Self::of_group(self.group.end, self.wanted, self.vocab_size, cut))
    }

    /// The rows of the head matrix that this piece multiplies with: the columns of the logits that it fills. None, where it
    /// only picks.
    #[must_use]
    pub fn slice(&self) -> Range<usize> {
        self.slice.clone()
    }

    /// The rows of its group that it picks from.
    #[must_use]
    pub fn picks(&self) -> Range<usize> {
        self.picks.clone()
    }

    /// How many rows of logits its group has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.group.len()
    }

    /// How many columns the logits have.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Whether it is the step's first.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.group.start == 0 && self.slice.start == 0
    }

    /// Whether its group is the step's last.
    #[must_use]
    pub fn is_of_last_group(&self) -> bool {
        self.group.end == self.wanted
    }

    /// Whether the logits of its group of rows are complete after it, and were not before.
    #[must_use]
    pub fn completes_logits(&self) -> bool {
        !self.slice.is_empty() && self.slice.end == self.vocab_size
    }

    /// Whether there is nothing more to compute or to pick after it.
    #[must_use]
    pub fn completes_step(&self) -> bool {
        self.is_of_last_group() && self.slice.end == self.vocab_size && self.picks.end == self.group.len()
    }
}

impl Cursor {
    /// The piece of the head in hand.
    #[must_use]
    pub fn head(&self) -> Option<&HeadPiece> {
        if let Self::Head(piece) = self { Some(piece) } else { None }
    }

    /// The rows of `batch` whose logits `Head` computes now: row `i` of the logits is the `i`-th of these.
    pub fn logit_rows<'b>(&self, batch: &'b Batch) -> impl Iterator<Item = (&'b Span, usize)> + use<'b> {
        let group = self.head().map_or(0..0, |piece| piece.group.clone());
        batch.logit_rows().skip(group.start).take(group.len())
    }

    /// Those of them that are picked from now, each with its row of the logits.
    pub fn picked_rows<'b>(&self, batch: &'b Batch) -> impl Iterator<Item = (usize, &'b Span, usize)> + use<'b> {
        let picks = self.head().map_or(0..0, |piece| piece.picks.clone());
        let rows = self.logit_rows(batch).enumerate().skip(picks.start).take(picks.len());
        rows.map(|(index, (span, row))| (index, span, row))
    }

    /// A condition for `Head`: whether there are logits to compute.
    #[must_use]
    pub fn computes_logits(cursor: Res<Self>) -> bool {
        cursor.head().is_some_and(|piece| !piece.slice.is_empty())
    }

    /// A condition for `Constrain`: see [`HeadPiece::completes_logits`].
    #[must_use]
    pub fn completes_logits(cursor: Res<Self>) -> bool {
        cursor.head().is_some_and(HeadPiece::completes_logits)
    }

    /// A condition for `Sample`: whether there are rows to pick from.
    #[must_use]
    pub fn picks(cursor: Res<Self>) -> bool {
        cursor.head().is_some_and(|piece| !piece.picks.is_empty())
    }

    /// A condition for `Emit`: see [`HeadPiece::completes_step`].
    #[must_use]
    pub fn completes_step(cursor: Res<Self>) -> bool {
        cursor.head().is_some_and(HeadPiece::completes_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_logit_and_every_pick_once_in_order_and_the_last_ends_the_step() {
        for (wanted, head, vocab_size) in [(0, 3, 10), (1, 3, 10), (1, 100, 10), (64, 10, 10), (65, 4, 10), (200, 7, 7)]
        {
            for cut in [Cut::Whole, Cut::Slices { head, picks: 5 }, Cut::Slices { head, picks: 1000 }] {
                let mut piece = HeadPiece::first(wanted, vocab_size, cut);
                let (mut computed, mut complete, mut picked) = (0, 0, 0);
                loop {
                    computed += piece.group.len() * piece.slice().len();
                    complete += if piece.completes_logits() { piece.group.len() } else { 0 };
                    assert_eq!(picked, piece.group.start + piece.picks.start);
                    picked += piece.picks().len();
                    assert!(picked <= complete, "nothing is picked before its logits are there");
                    let next = piece.next(cut);
                    assert_eq!(piece.completes_step(), next.is_none());
                    match next {
                        Some(next) => piece = next,
                        None => break,
                    }
                }
                assert_eq!((computed, complete, picked), (wanted * vocab_size, wanted, wanted), "{wanted}, {cut:?}");
            }
        }
    }
}
