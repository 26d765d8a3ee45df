//! Where a model's weights lie on a device: which buffer, which rows. Plain numbers, so that a step can be planned without a
//! device.

use std::ops::Range;

use crate::checkpoint::ElementType;
use crate::quant::BLOCK_LEN;

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
    pub format: ElementType,
    /// Columns.
    pub cols: usize,
    /// Rows of all matrices.
    pub rows: usize,
    /// Rows in each part but the last.
    pub part_rows: usize,
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
        self.blocks()
            * match self.format {
                ElementType::F32 => 4 * BLOCK_LEN,
                ElementType::F16 | ElementType::Bf16 => 2 * BLOCK_LEN,
                ElementType::Q4 => BLOCK_LEN / 2,
            }
    }

    /// Bytes of the scales and biases of a row.
    #[must_use]
    pub fn factor_bytes(&self) -> usize {
        if self.format == ElementType::Q4 { 4 * self.blocks() } else { 0 }
    }

    /// The rows of a part.
    #[must_use]
    pub fn part(&self, part: usize) -> Range<usize> {
        part * self.part_rows..self.rows.min((part + 1) * self.part_rows)
    }

    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.rows.div_ceil(self.part_rows.max(1))
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
            let part = row / self.part_rows;
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
        let arena = Arena { format: ElementType::Q4, cols: 1024, rows: 25, part_rows: 10 };
        assert_eq!((arena.parts(), arena.part(2), arena.aligned_rows()), (3, 20..25, 2));
        let pieces = arena.pieces(7, 8..23);
        let found: Vec<_> = pieces.iter().map(|piece| (piece.part, piece.first, piece.rows, piece.before)).collect();
        assert_eq!(found, [(0, 8, 2, 0), (1, 0, 10, 2), (2, 0, 3, 12)]);
    }
}
