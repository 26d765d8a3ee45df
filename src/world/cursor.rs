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

/// Some of the logits of a step: of a group of the batch's [`Batch::logit_rows`], those that a slice of the head's rows
/// gives. Slices follow one another until the group's logits are complete, groups until the step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadPiece {
    group: Range<usize>,
    wanted: usize,
    slice: Range<usize>,
    vocab_size: usize,
}

/// Rows whose logits are computed and kept at once, at most: 64 MB of them with a vocabulary of 248 320, while reading
/// the head matrix anew costs little beside multiplying by it so often.
const GROUP: usize = 64;

impl HeadPiece {
    /// The first piece of a step in which the logits of `wanted` rows are wanted, by `slice` of the `vocab_size` rows of
    /// the head at once.
    pub(crate) fn first(wanted: usize, slice: usize, vocab_size: usize) -> Self {
        Self::of_group(0, wanted, slice, vocab_size)
    }

    fn of_group(start: usize, wanted: usize, slice: usize, vocab_size: usize) -> Self {
        let group = start..wanted.min(start + GROUP);
        // In the middle of a prompt no logits are wanted, and the head has nothing to slice.
        let end = if group.is_empty() { vocab_size } else { slice.clamp(1, vocab_size) };
        Self { group, wanted, slice: 0..end, vocab_size }
    }

    /// The piece after this one, `None` if it was the step's last.
    pub(crate) fn next(&self, slice: usize) -> Option<Self> {
        if !self.completes_logits() {
            let start = self.slice.end;
            let end = self.vocab_size.min(start + slice.max(1));
            return Some(Self { slice: start..end, ..self.clone() });
        }
        (!self.completes_step()).then(|| Self::of_group(self.group.end, self.wanted, slice, self.vocab_size))
    }

    /// The rows of the head matrix that this piece multiplies with: the columns of the logits that it fills.
    #[must_use]
    pub fn slice(&self) -> Range<usize> {
        self.slice.clone()
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

    /// Whether the logits of its group of rows are complete after it.
    #[must_use]
    pub fn completes_logits(&self) -> bool {
        self.slice.end == self.vocab_size
    }

    /// Whether there are no more logits to compute after it.
    #[must_use]
    pub fn completes_step(&self) -> bool {
        self.completes_logits() && self.group.end == self.wanted
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

    /// A condition for `Constrain` and `Sample`: see [`HeadPiece::completes_logits`].
    #[must_use]
    pub fn completes_logits(cursor: Res<Self>) -> bool {
        cursor.head().is_some_and(HeadPiece::completes_logits)
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
    fn pieces_cover_every_logit_of_every_row_once_and_the_last_ends_the_step() {
        for (wanted, slice, vocab_size) in
            [(0, 3, 10), (1, 3, 10), (1, 100, 10), (64, 10, 10), (65, 4, 10), (200, 7, 7)]
        {
            let mut piece = HeadPiece::first(wanted, slice, vocab_size);
            let (mut computed, mut complete) = (0, 0);
            loop {
                computed += piece.group.len() * piece.slice().len();
                complete += if piece.completes_logits() { piece.group.len() } else { 0 };
                match piece.next(slice) {
                    Some(next) => assert!(!piece.completes_step() && next != piece),
                    None => break assert!(piece.completes_step()),
                }
                piece = piece.next(slice).unwrap();
            }
            assert_eq!((computed, complete), (wanted * vocab_size, wanted), "{wanted} rows, {vocab_size} by {slice}");
        }
    }
}
