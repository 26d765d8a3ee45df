//! What the rows of a chunk have in common for all columns of a key head: unit vectors, and their products.

use super::scalars::Scalars;
use super::shape::{DELTA_CHUNK, DeltaInputs, DeltaShape};
use crate::cpu::kernels::simd::{LANES, Line, Simd, flat};

/// The rows of a call that lie in one chunk.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Where the first of them is in the call.
    pub row: usize,
    /// Where the first of them is in the chunk.
    pub start: usize,
    /// Where they end in the chunk.
    pub end: usize,
}

impl Piece {
    /// All pieces of a call of `rows` rows that begins `since` rows after a multiple.
    pub(super) fn all(since: usize, rows: usize) -> impl Iterator<Item = Self> {
        let end = since + rows;
        (0..end.div_ceil(DELTA_CHUNK)).map(move |chunk| {
            let first = chunk * DELTA_CHUNK;
            let start = since.max(first);
            Self { row: start - since, start: start - first, end: DELTA_CHUNK.min(end - first) }
        })
    }

    /// How many rows there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the chunk is complete after them.
    #[inline(always)]
    pub(super) fn completes(&self) -> bool {
        self.end == DELTA_CHUNK
    }
}

/// One key head, and the rows of one chunk.
pub(super) struct KeyHead<'a> {
    shape: DeltaShape,
    head: usize,
    /// The rows that earlier calls had of the first chunk.
    earlier: &'a [f32],
    /// Unit keys of the piece in hand, at the rows' places in the chunk, then its unit queries.
    units: &'a mut [Line],
    /// Of each row's key with the keys before it.
    pub key_products: [Line; DELTA_CHUNK],
    /// Of each row's query with its key and those before it.
    pub query_products: [Line; DELTA_CHUNK],
}

/// How many keys are multiplied at once, by a key and by a query: their sums fill a vector.
const TOGETHER: usize = LANES / 2;

// The products of a row are one vector.
const _: () = assert!(DELTA_CHUNK == LANES);

impl<'a> KeyHead<'a> {
    /// The scratch lines that it needs.
    pub(super) fn lines(shape: DeltaShape) -> usize {
        2 * DELTA_CHUNK * shape.key_head_dim.div_ceil(LANES)
    }

    pub(super) fn new(shape: DeltaShape, head: usize, earlier: &'a [f32], units: &'a mut [Line]) -> Self {
        let none = [Line::ZERO; DELTA_CHUNK];
        Self { shape, head, earlier, units, key_products: none, query_products: none }
    }

    /// The unit key of the chunk's row `row`, which is in `piece` or before it.
    #[inline(always)]
    pub(super) fn key(&self, piece: Piece, row: usize) -> &[f32] {
        if row < piece.start { &self.earlier[self.shape.key_at(self.head, row)] } else { self.unit(row) }
    }

    /// The unit query of the chunk's row `row`, which is in the piece in hand.
    #[inline(always)]
    pub(super) fn query(&self, row: usize) -> &[f32] {
        self.unit(DELTA_CHUNK + row)
    }

    #[inline(always)]
    fn unit(&self, index: usize) -> &[f32] {
        let lines = self.shape.key_head_dim.div_ceil(LANES);
        &flat(&self.units[index * lines..][..lines])[..self.shape.key_head_dim]
    }

    /// Takes `piece` in hand.
    #[inline(always)]
    pub(super) fn read<S: Simd>(&mut self, simd: S, inputs: &DeltaInputs<'_>, scalars: &Scalars, piece: Piece) {
        let lines = self.shape.key_head_dim.div_ceil(LANES);
        for i in 0..piece.len() {
            let (query, key) = inputs.query_and_key(self.shape, piece.row + i, self.head);
            let scales = scalars.scales[(piece.row + i) * self.shape.key_heads + self.head];
            let (keys, queries) = self.units.split_at_mut(DELTA_CHUNK * lines);
            let at = (piece.start + i) * lines;
            scale(simd, key, scales.key, &mut keys[at..at + lines]);
            scale(simd, query, scales.query, &mut queries[at..at + lines]);
        }
        for row in piece.start..piece.end {
            self.multiply(simd, piece, row);
        }
    }

    /// The products of the chunk's row `row` with the keys up to it.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, simd: S, piece: Piece, row: usize) {
        let (mut key_products, mut query_products) = (Line::ZERO, Line::ZERO);
        for first in (0..=row).step_by(TOGETHER) {
            let mut keys = [self.key(piece, row); TOGETHER];
            for (i, key) in keys.iter_mut().enumerate() {
                *key = self.key(piece, (first + i).min(row));
            }
            let mut sums = Line::ZERO;
            simd.store(dots(simd, self.key(piece, row), self.query(row), keys), &mut sums.0);
            key_products.0[first..first + TOGETHER].copy_from_slice(&sums.0[..TOGETHER]);
            query_products.0[first..first + TOGETHER].copy_from_slice(&sums.0[TOGETHER..]);
        }
        self.key_products[row] = key_products;
        self.query_products[row] = query_products;
    }
}

/// `factor * x`, filled up with zeros.
#[inline(always)]
fn scale<S: Simd>(simd: S, x: &[f32], factor: f32, to: &mut [Line]) {
    let (vectors, rest) = x.as_chunks::<LANES>();
    let factor = simd.splat(factor);
    for (x, to) in vectors.iter().zip(&mut *to) {
        simd.store(simd.mul(simd.load(x), factor), &mut to.0);
    }
    if let (false, Some(to)) = (rest.is_empty(), to.last_mut()) {
        simd.store(simd.mul(simd.load_part(rest), factor), &mut to.0);
    }
}

/// The products of `key` with each of `keys`, then those of `query`.
#[inline(always)]
fn dots<S: Simd>(simd: S, key: &[f32], query: &[f32], keys: [&[f32]; TOGETHER]) -> S::V {
    let mut sums = [simd.splat(0.0); LANES];
    if S::WIDE {
        dots_of::<S, 8>(simd, key, query, &keys, &mut sums);
    } else {
        dots_of::<S, 2>(simd, key, query, &keys, &mut sums);
    }
    simd.sums(sums)
}

/// The lanes of those products, `N` keys at a time: as many as leave registers for their sums.
#[inline(always)]
fn dots_of<S: Simd, const N: usize>(
    simd: S,
    key: &[f32],
    query: &[f32],
    keys: &[&[f32]; TOGETHER],
    sums: &mut [S::V; LANES],
) {
    let ((key, key_rest), (query, query_rest)) = (key.as_chunks::<LANES>(), query.as_chunks::<LANES>());
    for first in (0..TOGETHER).step_by(N) {
        let mut both = [[simd.splat(0.0); N]; 2];
        let mut others = [key; N];
        for n in 0..N {
            others[n] = keys[first + n].as_chunks().0;
        }
        for (v, (key, query)) in key.iter().zip(query).enumerate() {
            let (k, q) = (simd.load(key), simd.load(query));
            for n in 0..N {
                let other = simd.load(&others[n][v]);
                both[0][n] = simd.fma(k, other, both[0][n]);
                both[1][n] = simd.fma(q, other, both[1][n]);
            }
        }
        if !key_rest.is_empty() {
            let (k, q) = (simd.load_part(key_rest), simd.load_part(query_rest));
            for n in 0..N {
                let other = simd.load_part(keys[first + n].as_chunks::<LANES>().1);
                both[0][n] = simd.fma(k, other, both[0][n]);
                both[1][n] = simd.fma(q, other, both[1][n]);
            }
        }
        for n in 0..N {
            sums[first + n] = both[0][n];
            sums[TOGETHER + first + n] = both[1][n];
        }
    }
}
