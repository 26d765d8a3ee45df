//! Parts of a tensor that a converter has put in another order than the makers of the model, and how to put them back.
//!
//! llama.cpp's converter does so in two places, and in both it lays a table of rows out column by column: the value heads
//! of a delta net, `[key head, value head of it]`, and the elements of a query or key head of Llama, `[half, pair]`.

use bytes::{Bytes, BytesMut};

use super::types::TensorType;

/// A tensor as stretches of `skip` elements that are where they belong and a table behind them whose `rows × columns`
/// entries, of `unit` elements each, are stored column by column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) struct Transposed {
    skip: usize,
    rows: usize,
    columns: usize,
    pub(super) unit: usize,
}

impl Transposed {
    /// A table with more than one row and column, if a tensor of `len` elements consists of such stretches.
    pub(super) fn new(skip: usize, rows: usize, columns: usize, unit: usize, len: usize) -> Option<Self> {
        let table = rows.checked_mul(columns)?.checked_mul(unit).filter(|&table| table > 0)?;
        let fits = len.is_multiple_of(table.checked_add(skip)?);
        (fits && rows > 1 && columns > 1).then_some(Self { skip, rows, columns, unit })
    }

    /// The elements of a stretch.
    fn stretch(self) -> usize {
        self.skip + self.rows * self.columns * self.unit
    }

    /// The same of the bytes that elements of this type take; `None` if parts are not whole blocks, which alone can be put
    /// elsewhere as they are.
    pub(super) fn in_bytes(self, kind: TensorType) -> Option<Self> {
        let whole = self.skip.is_multiple_of(kind.block) && self.unit.is_multiple_of(kind.block);
        let (skip, unit) = (kind.bytes_for(self.skip)?, kind.bytes_for(self.unit)?);
        whole.then_some(Self { skip, unit, ..self })
    }

    /// Where, in what is stored, that is which belongs at `index`, and how many from there on follow each other likewise.
    pub(in crate::checkpoint) fn find(self, index: usize) -> (usize, usize) {
        let (first, within) = (index - index % self.stretch(), index % self.stretch());
        if within < self.skip {
            return (index, self.skip - within);
        }
        let (entry, offset) = ((within - self.skip) / self.unit, (within - self.skip) % self.unit);
        let (row, column) = (entry / self.columns, entry % self.columns);
        let stored = column * self.rows + row;
        (first + self.skip + stored * self.unit + offset, self.unit - offset)
    }

    /// Bytes in the order of the model's makers.
    pub(super) fn restore(self, stored: &[u8]) -> Bytes {
        let mut restored = BytesMut::with_capacity(stored.len());
        while restored.len() < stored.len() {
            let (from, count) = self.find(restored.len());
            restored.extend_from_slice(&stored[from..from + count]);
        }
        restored.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two stretches of one element that stays and two key heads of three value heads of two elements each.
    #[test]
    fn what_was_laid_out_by_columns_is_put_back() {
        let table = Transposed::new(1, 2, 3, 2, 26).unwrap();
        let published: Vec<u8> = (0..26).collect();
        let stored: Vec<u8> = published
            .chunks(13)
            .flat_map(|stretch| {
                let heads: Vec<&[u8]> = stretch[1..].chunks(2).collect();
                let tiled = [0, 3, 1, 4, 2, 5].into_iter().flat_map(move |head| heads[head].to_vec());
                [stretch[0]].into_iter().chain(tiled)
            })
            .collect();
        assert_ne!(stored, published);
        assert_eq!(Transposed::new(1, 2, 3, 2, 25), None);
        assert_eq!(table.restore(&stored), published);
        for (index, value) in published.iter().enumerate() {
            assert_eq!(stored[table.find(index).0], *value);
        }
    }

    #[test]
    fn parts_move_only_in_whole_blocks() {
        let rows = |unit| Transposed::new(0, 2, 3, unit, 6 * unit).unwrap();
        let [q4_1, q4_k] = [3, 12].map(|id| TensorType::of(id).unwrap());
        assert_eq!(rows(64).in_bytes(q4_1), Some(rows(40)));
        assert_eq!(rows(48).in_bytes(q4_1), None);
        assert_eq!(rows(256).in_bytes(q4_k), Some(rows(144)));
        assert_eq!(rows(128).in_bytes(q4_k), None);
    }
}
