//! What the rule reads and keeps: the sizes of a layer, what it computed for some rows, and what it remembers.

use std::ops::Range;

use crate::cpu::kernels::simd::LANES;

/// The positions of a chunk. Chunks begin at its multiples, counted from the start of the sequence.
pub const DELTA_CHUNK: usize = 16;

/// The rows that there can be since the last multiple.
const MOST_ROWS: usize = DELTA_CHUNK - 1;

/// The heads of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaShape {
    /// Heads of queries and of keys.
    pub key_heads: usize,
    /// Heads of values, each key head being shared by as many of them.
    pub value_heads: usize,
    /// Elements of a query or key.
    pub key_head_dim: usize,
    /// Elements of a value.
    pub value_head_dim: usize,
    /// Whether value heads that share a key head lie `key_heads` apart, rather than next to each other.
    pub tiled: bool,
}

impl DeltaShape {
    /// The elements of all queries of a row, and of all keys.
    #[must_use]
    pub fn key_dim(&self) -> usize {
        self.key_heads * self.key_head_dim
    }

    /// The elements of all values of a row.
    #[must_use]
    pub fn value_dim(&self) -> usize {
        self.value_heads * self.value_head_dim
    }

    /// The elements of a row of queries, keys and values.
    #[must_use]
    pub fn qkv_dim(&self) -> usize {
        2 * self.key_dim() + self.value_dim()
    }

    /// The elements of the state of one sequence: the columns of each head are filled up to whole vectors.
    #[must_use]
    pub fn state_len(&self) -> usize {
        self.value_heads * self.head_len()
    }

    /// The elements of the rows since the last multiple: of each row, its keys, its pseudo-values and its decays.
    #[must_use]
    pub fn rows_len(&self) -> usize {
        MOST_ROWS * (self.key_dim() + self.value_dim() + self.value_heads)
    }

    /// Where the key of row `row` since the last multiple is, of key head `head`. What a head has of all rows is one
    /// piece, and so read as a stream.
    #[inline(always)]
    pub(super) fn key_at(&self, head: usize, row: usize) -> Range<usize> {
        let start = (head * MOST_ROWS + row) * self.key_head_dim;
        start..start + self.key_head_dim
    }

    /// Where its pseudo-value is, of value head `head`.
    #[inline(always)]
    pub(super) fn pseudo_value_at(&self, head: usize, row: usize) -> Range<usize> {
        let start = MOST_ROWS * self.key_dim() + (head * MOST_ROWS + row) * self.value_head_dim;
        start..start + self.value_head_dim
    }

    /// Where its decay is, of value head `head`.
    #[inline(always)]
    pub(super) fn decay_at(&self, head: usize, row: usize) -> usize {
        MOST_ROWS * (self.key_dim() + self.value_dim()) + head * MOST_ROWS + row
    }

    /// One of the value heads that share a key head.
    pub(super) fn value_head(&self, key_head: usize, index: usize) -> usize {
        if self.tiled { index * self.key_heads + key_head } else { key_head * self.group() + index }
    }

    /// The value heads that share a key head.
    pub(super) fn group(&self) -> usize {
        self.value_heads / self.key_heads
    }

    /// The elements of a value head's state.
    pub(super) fn head_len(&self) -> usize {
        self.key_head_dim * self.value_head_dim.next_multiple_of(LANES)
    }
}

/// What one layer computed for some rows, and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct DeltaInputs<'a> {
    /// Queries, keys and values after the convolution: `[rows, 2 * key_dim + value_dim]`.
    pub qkv: &'a [f32],
    /// What the decay depends on: `[rows, value_heads]`.
    pub a: &'a [f32],
    /// What the learning rate depends on: `[rows, value_heads]`.
    pub b: &'a [f32],
    /// `-exp(A_log)`: `[value_heads]`.
    pub decay_rate: &'a [f32],
    /// `[value_heads]`.
    pub dt_bias: &'a [f32],
}

impl DeltaInputs<'_> {
    /// The query and the key of row `row` for key head `head`.
    #[inline(always)]
    pub(super) fn query_and_key(&self, shape: DeltaShape, row: usize, head: usize) -> (&[f32], &[f32]) {
        let n = shape.key_head_dim;
        let heads = &self.qkv[row * shape.qkv_dim() + head * n..];
        (&heads[..n], &heads[shape.key_dim()..][..n])
    }

    /// The value of row `row` for value head `head`.
    #[inline(always)]
    pub(super) fn value(&self, shape: DeltaShape, row: usize, head: usize) -> &[f32] {
        let start = row * shape.qkv_dim() + 2 * shape.key_dim() + head * shape.value_head_dim;
        &self.qkv[start..][..shape.value_head_dim]
    }
}

/// What a layer remembers of one sequence: all zeros at its start.
#[derive(Debug)]
pub struct DeltaMemory<'a> {
    /// How many rows there were since the last multiple of [`DELTA_CHUNK`].
    pub since: usize,
    /// Those rows, as many as that, in [`DeltaShape::rows_len`] numbers.
    pub rows: &'a mut [f32],
    /// The state at the last multiple, [`DeltaShape::state_len`] numbers: blocks of columns, one after the other.
    pub state: DeltaChunk<'a>,
}

/// A state, and whether it changes.
#[derive(Debug)]
pub enum DeltaChunk<'a> {
    /// It stays, as the rows of the call do not reach the next multiple.
    Kept(&'a [f32]),
    /// It is left as it is at the last multiple that the rows reach.
    Advanced(&'a mut [f32]),
}

impl DeltaChunk<'_> {
    /// The state as it is.
    #[inline(always)]
    pub(super) fn numbers(&self) -> &[f32] {
        match self {
            Self::Kept(state) => state,
            Self::Advanced(state) => state,
        }
    }
}
