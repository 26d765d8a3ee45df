//! Where a model's weights lie on a device: which buffer, which rows. Plain numbers, so that a step can be planned without a
//! device.

use std::ops::Range;

use super::Gpu;
use super::format::Format;
use crate::quant::BLOCK_LEN;
use crate::world::mlp::Mlp;

/// A weight matrix `[rows, cols]`: rows of an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Which arena, and so which columns and format.
    pub arena: usize,
    /// Its first row there.
    pub first: usize,
    /// How many rows it has.
    pub rows: usize,
}

impl Mlp<Gpu> {
    /// Gate and up as one, where they follow each other.
    pub(super) fn gate_and_up(&self) -> Matrix {
        Matrix { rows: self.gate_proj.rows + self.up_proj.rows, ..self.gate_proj }
    }
}

/// A small tensor: a range of the buffer of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// The first element, a multiple of four.
    pub first: usize,
    /// How many there are.
    pub len: usize,
}

/// All matrices with the same columns and format, row after row, so that one grid covers those that read the same input.
/// It is cut into parts where a binding may not be as large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// How weights are stored.
    pub format: Format,
    /// Columns.
    pub cols: usize,
    /// Rows of all matrices.
    pub rows: usize,
    /// Where parts end, the last at `rows`.
    pub ends: Vec<usize>,
}

/// Rows of one part of an arena, as a dispatch binds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which arena.
    pub arena: usize,
    /// Which part of it.
    pub part: usize,
    /// The first row within the part.
    pub first: usize,
    /// How many rows.
    pub rows: usize,
    /// How many rows of what was asked for come before.
    pub before: usize,
}

/// The offset of a binding is a multiple of this on every adapter.
const BINDING_ALIGNMENT: usize = 256;

impl Arena {
    /// Blocks of 32 weights in a row; the last is filled up with zeros.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.cols.div_ceil(BLOCK_LEN)
    }

    /// Bytes of the codes of a row.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.format.code_bytes(self.cols)
    }

    /// Bytes of the scales and biases of a row.
    #[must_use]
    pub fn factor_bytes(&self) -> usize {
        self.format.factor_bytes(self.cols)
    }

    /// The rows of a part.
    #[must_use]
    pub fn part(&self, part: usize) -> Range<usize> {
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[part]
    }

    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.ends.len()
    }

    /// Cuts it into parts of at most `most` rows: between `groups`, which begin at these rows, as far as a group is no larger
    /// than that.
    pub(super) fn cut(&mut self, groups: &[usize], most: usize) {
        self.ends.clear();
        let mut start = 0;
        while start < self.rows {
            let reach = start.saturating_add(most.max(1));
            let between = groups.iter().rev().copied().find(|&group| group > start && group <= reach);
            let end = if reach >= self.rows { self.rows } else { between.unwrap_or(reach) };
            self.ends.push(end);
            start = end;
        }
    }

    /// A binding may begin at multiples of so many rows.
    #[must_use]
    pub fn aligned_rows(&self) -> usize {
        let step = |bytes: usize| if bytes == 0 { 1 } else { BINDING_ALIGNMENT / gcd(BINDING_ALIGNMENT, bytes) };
        // Powers of two: the larger is a multiple of the other.
        step(self.code_bytes()).max(step(self.factor_bytes()))
    }

    /// The pieces that `rows` lie in.
    pub(super) fn pieces(&self, arena: usize, rows: Range<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut row = rows.start;
        while row < rows.end {
            let part = self.ends.partition_point(|&end| end <= row);
            let bounds = self.part(part);
            let end = rows.end.min(bounds.end);
            pieces.push(Piece { arena, part, first: row - bounds.start, rows: end - row, before: row - rows.start });
            row = end;
        }
        pieces
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_where_parts_end() {
        let mut arena = Arena { format: Format::Q4, cols: 1024, rows: 25, ends: Vec::new() };
        arena.cut(&[0, 4, 9, 10, 15], 7);
        assert_eq!(arena.ends, [4, 10, 15, 22, 25]);
        arena.cut(&[], 10);
        assert_eq!((arena.parts(), arena.part(2), arena.aligned_rows()), (3, 20..25, 2));
        let pieces = arena.pieces(7, 8..23);
        let found: Vec<_> = pieces.iter().map(|piece| (piece.part, piece.first, piece.rows, piece.before)).collect();
        assert_eq!(found, [(0, 8, 2, 0), (1, 0, 10, 2), (2, 0, 3, 12)]);
    }
}
