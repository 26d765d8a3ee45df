//! Columns of a row-major buffer as something to own: tasks on several threads write into the same rows, each its own
//! columns, which are handed out once.

use std::marker::PhantomData;
use std::ops::Range;

/// Some columns of all rows of a buffer. Who has them is the only one who does: they are neither cloned nor copied.
pub(super) struct Columns<'a> {
    /// The first of them, in the first row.
    start: *mut f32,
    rows: usize,
    /// From one row to the next.
    stride: usize,
    width: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: as a `&mut [f32]` is, since no other `Columns` has an element that this one has.
unsafe impl Send for Columns<'_> {}

impl<'a> Columns<'a> {
    /// The first `width` columns of `rows` rows that begin `stride` apart.
    ///
    /// # Panics
    /// Where a row is longer than `stride`, or `buffer` has no room for all of them.
    pub(super) fn new(buffer: &'a mut [f32], rows: usize, stride: usize, width: usize) -> Self {
        assert!(width <= stride, "{width} columns in rows {stride} apart");
        let needed = rows.checked_sub(1).and_then(|last| last.checked_mul(stride)?.checked_add(width));
        assert!(rows == 0 || needed.is_some_and(|needed| needed <= buffer.len()), "room for {rows} rows of {width}");
        Self { start: buffer.as_mut_ptr(), rows, stride, width, buffer: PhantomData }
    }

    /// Hands out the first `count` of these columns, or as many as there are, and keeps the others.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let width = count.min(self.width);
        let taken = Self { width, ..*self };
        // Where there are no rows, there need not be a buffer to point into.
        self.start = self.start.wrapping_add(width);
        self.width -= width;
        taken
    }

    /// How many rows there are.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns there are.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Some of the columns of one row, counted from the first of these columns.
    ///
    /// # Panics
    /// Where there are no such columns, or no such row.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width);
        // SAFETY: the row lies in the buffer as `new` asserted, since its columns are among those of then. The buffer is
        // borrowed exclusively for `'a`; `take` leaves every column to one owner, and this one is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + columns.start), columns.len()) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_column_is_handed_out_once() {
        let mut buffer = [0.0; 3 * 10 - 1];
        let mut rest = Columns::new(&mut buffer, 3, 10, 9);
        let mut parts: Vec<_> = [2, 0, 4, 9, 1].map(|count| rest.take(count)).into();
        let widths: Vec<_> = parts.iter().map(Columns::width).collect();
        assert_eq!((widths, rest.width()), (vec![2, 0, 4, 3, 0], 0));
        std::thread::scope(|scope| {
            for (number, part) in (1..).zip(&mut parts) {
                scope.spawn(move || {
                    for row in 0..3 {
                        part.row(row, 0..part.width()).iter_mut().for_each(|element| *element += number as f32);
                    }
                });
            }
        });
        let row = [1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0, 0.0];
        assert_eq!(buffer, [row, row, row].as_flattened()[..29]);
    }

    #[test]
    fn nothing_beyond_ones_own_columns_can_be_had() {
        let mut buffer = [0.0; 20];
        let mut rest = Columns::new(&mut buffer, 2, 10, 10);
        let (mut first, mut second) = (rest.take(4), rest.take(4));
        let refused = |columns: &mut Columns<'_>, row, range: Range<usize>| {
            catch_unwind(AssertUnwindSafe(|| columns.row(row, range).len())).is_err()
        };
        for part in [&mut first, &mut second] {
            assert!(refused(part, 0, 3..5) && refused(part, 0, 5..5) && refused(part, 2, 0..4));
            assert!(!refused(part, 1, 0..4) && !refused(part, 0, 4..4));
        }
        assert!(refused(&mut rest, 0, 0..3) && !refused(&mut rest, 1, 0..2));
        assert!(catch_unwind(|| Columns::new(&mut [0.0; 19], 2, 10, 10).rows()).is_err(), "no room");
        assert!(catch_unwind(|| Columns::new(&mut [0.0; 40], 2, 10, 11).rows()).is_err(), "rows overlap");
    }
}
