//! What the parts of [`attend`](super::attend()) work at: a call, its tiles, and the running softmax of a tile.

use std::ops::Range;

use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::kv_block::{KV_BLOCK, KvView};
use crate::cpu::kernels::simd::{LANES, Line, flat_mut};

/// The positions between two rescalings: the keys of a block stay in the nearest cache for all rows of a tile.
pub(super) const BLOCK: usize = KV_BLOCK;

/// The scores of one row in one block, later their exponentials.
pub(super) type Scores = [f32; BLOCK];

/// The positions that are summed from scratch: a whole number of blocks.
pub(super) const SEGMENT: usize = 512;

/// The heads of one layer. Consecutive query heads share a key and value head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttendShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, each shared by as many query heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl AttendShape {
    /// The query heads of each key and value head.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The elements of a row of queries.
    pub(super) fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The vectors that a row of a head takes in scratch memory.
    pub(super) fn lines(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }
}

/// The arguments of [`attend`](super::attend()).
pub(super) struct Call<'a> {
    pub(super) isa: Isa,
    pub(super) shape: AttendShape,
    pub(super) queries: &'a [f32],
    pub(super) blocks: Vec<KvView<'a>>,
    pub(super) first_position: usize,
    pub(super) scale: f32,
}

/// Some queries of the heads that share a key and value head. The rows of a tile are its queries, and within each
/// query the heads.
pub(super) struct Tile {
    pub(super) kv_head: usize,
    pub(super) queries: Range<usize>,
}

impl Call<'_> {
    /// The position of a query.
    pub(super) fn position(&self, query: usize) -> usize {
        self.first_position + query
    }

    /// The segments that the queries of a tile see.
    pub(super) fn segments(&self, tile: &Tile) -> usize {
        self.position(tile.queries.end).div_ceil(SEGMENT)
    }

    /// The heads of one query of a tile.
    pub(super) fn queries(&self, tile: &Tile, query: usize) -> &[f32] {
        let width = self.shape.group() * self.shape.head_dim;
        &self.queries[query * self.shape.width() + tile.kv_head * width..][..width]
    }

    pub(super) fn rows(&self, tile: &Tile) -> usize {
        tile.queries.len() * self.shape.group()
    }
}

/// The running softmax of the rows of a tile.
pub(super) struct Running<'a> {
    pub(super) max: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    /// `[rows, lines]`
    pub(super) out: &'a mut [Line],
}

impl<'a> Running<'a> {
    /// The lines that [`over`](Self::over) takes.
    pub(super) fn lines(shape: AttendShape, rows: usize) -> usize {
        rows * shape.lines() + 2 * rows.div_ceil(LANES)
    }

    pub(super) fn over(lines: &'a mut [Line], shape: AttendShape, rows: usize) -> Self {
        let (out, rest) = lines.split_at_mut(rows * shape.lines());
        let (max, sum) = rest.split_at_mut(rows.div_ceil(LANES));
        Self { max: &mut flat_mut(max)[..rows], sum: &mut flat_mut(sum)[..rows], out }
    }
}
