//! The rows of a tile over the positions of a segment.

use std::ops::Range;

use super::call::{AttendShape, BLOCK, Call, Running, SEGMENT, Scores, Tile};
use super::keys::{prefetch, products};
use super::panel::Panel;
use crate::cpu::kernels::exp::exp;
use crate::cpu::kernels::kv_block::KvSlice;
use crate::cpu::kernels::simd::{LANES, Line, Simd, flat, flat_mut, per_isa};

/// The rows that values are added to at once.
const SIDE: usize = 4;

/// The lines of scratch memory that [`sweep`] takes.
pub(super) fn scratch_lines(shape: AttendShape, rows: usize) -> usize {
    rows * (shape.lines() + BLOCK / LANES) + rows.div_ceil(LANES) + shape.head_dim * BLOCK / LANES
}

per_isa! {
    /// Runs the rows of a tile over the positions of segment `segment`, from empty sums.
    pub(super) fn sweep(
        simd, call: &Call<'_>, tile: &Tile, segment: usize, running: &mut Running<'_>, scratch: &mut [Line],
    ) {
        running.max.fill(f32::NEG_INFINITY);
        running.sum.fill(0.0);
        running.out.fill(Line::ZERO);
        let scratch = &mut Scratch::over(scratch, call.shape, call.rows(tile));
        let end = (segment * SEGMENT + SEGMENT).min(call.position(tile.queries.end));
        for start in (segment * SEGMENT..end).step_by(BLOCK) {
            Block { call, tile, start }.run(simd, running, scratch);
        }
    }
}

/// The positions `start` and after, for the rows of a tile that see any of them.
struct Block<'a> {
    call: &'a Call<'a>,
    tile: &'a Tile,
    start: usize,
}

impl Block<'_> {
    /// Adds the block to the rows.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, running: &mut Running<'_>, scratch: &mut Scratch<'_>) {
        let Self { call, tile, start } = *self;
        let (n, group) = (call.shape.head_dim, call.shape.group());
        let Scratch { queries, scores, factors, wide } = scratch;
        let block = call.blocks[start / BLOCK];
        let (keys, values) = (block.keys(tile.kv_head), block.values(tile.kv_head));
        let next = call.blocks.get(start / BLOCK + 1).map_or(&[][..], |next| next.keys(tile.kv_head).bytes());
        // The first queries may end within the block, each at its own position; those before see nothing of it, and those
        // after all of it.
        let query_at = |position: usize| {
            let query = position.saturating_sub(call.first_position);
            query.clamp(tile.queries.start, tile.queries.end)
        };
        let (first, whole) = (query_at(start), query_at(start + BLOCK - 1));
        let seen = |query: usize| (call.position(query) + 1 - start).min(BLOCK);
        let row_of = |query: usize| (query - tile.queries.start) * group;
        let rows = row_of(first)..call.rows(tile);

        // One after the other, keys and values would each wait for memory, and the other way round.
        score(simd, widened(simd, keys, wide), queries, n, rows.clone(), values.bytes(), scores);
        for row in rows.clone() {
            let (max, sum) = (&mut running.max[row], &mut running.sum[row]);
            let seen = seen(tile.queries.start + row / group);
            factors[row] = soften(simd, &mut scores[row], seen, call.scale, max, sum);
        }
        let values = &widened(simd, values, wide)[..seen(tile.queries.end - 1) * n];
        let mut sums = Sums { scores, factors, lines: call.shape.lines(), head_dim: n, out: running.out };
        for query in first..whole {
            sums.add(simd, row_of(query)..row_of(query + 1), &values[..seen(query) * n], &[]);
        }
        sums.add(simd, row_of(whole)..rows.end, values, next);
    }
}

/// Numbers in single precision: themselves, or in `wide`.
#[inline(always)]
fn widened<'a, S: Simd>(simd: S, numbers: KvSlice<'a>, wide: &'a mut [Line]) -> &'a [f32] {
    match numbers {
        KvSlice::F32(numbers) => numbers,
        KvSlice::F16(numbers) => {
            for (wide, numbers) in wide.iter_mut().zip(numbers.as_chunks().0) {
                simd.store(simd.load_f16(numbers), &mut wide.0);
            }
            flat(wide)
        }
    }
}

/// The products of some rows of `queries` with `keys`. Brings `ahead` near meanwhile.
#[inline(always)]
fn score<S: Simd>(
    simd: S,
    keys: &[f32],
    queries: &[Line],
    head_dim: usize,
    rows: Range<usize>,
    ahead: &[u8],
    scores: &mut [Scores],
) {
    let lines = head_dim.div_ceil(LANES);
    let query = |row: usize| &flat(&queries[row * lines..][..lines])[..head_dim];
    let mut row = rows.start;
    let mut ahead = Some(ahead);
    while S::WIDE && row + 4 <= rows.end {
        let queries = [query(row), query(row + 1), query(row + 2), query(row + 3)];
        products::<S, 4, 2>(simd, queries, keys, ahead.take().unwrap_or_default(), &mut scores[row..]);
        row += 4;
    }
    while row + 2 <= rows.end {
        let queries = [query(row), query(row + 1)];
        products::<S, 2, 1>(simd, queries, keys, ahead.take().unwrap_or_default(), &mut scores[row..]);
        row += 2;
    }
    if row < rows.end {
        products::<S, 1, 1>(simd, [query(row)], keys, ahead.take().unwrap_or_default(), &mut scores[row..]);
    }
}

/// The outputs of the rows of a tile, and by what they grow.
struct Sums<'a> {
    scores: &'a [Scores],
    factors: &'a [f32],
    /// Of a row.
    lines: usize,
    head_dim: usize,
    /// `[rows, lines]`
    out: &'a mut [Line],
}

impl Sums<'_> {
    /// Shrinks the outputs of `rows` and adds `values` to them. Brings `ahead` near meanwhile.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, rows: Range<usize>, values: &[f32], ahead: &[u8]) {
        let mut row = rows.start;
        let mut ahead = Some(ahead);
        while row + SIDE <= rows.end {
            self.add_to::<S, SIDE>(simd, row, values, ahead.take().unwrap_or_default());
            row += SIDE;
        }
        while row < rows.end {
            self.add_to::<S, 1>(simd, row, values, ahead.take().unwrap_or_default());
            row += 1;
        }
    }

    #[inline(always)]
    fn add_to<S: Simd, const R: usize>(&mut self, simd: S, row: usize, values: &[f32], ahead: &[u8]) {
        let Self { lines, head_dim, .. } = *self;
        let (scores, factors) = (&self.scores[row..row + R], &self.factors[row..row + R]);
        let panel = Panel { values, head_dim, scores, factors };
        let out = &mut self.out[row * lines..(row + R) * lines];
        let step = ahead.len() / lines;
        let mut line = 0;
        while S::WIDE && (line + 4) * LANES <= head_dim {
            prefetch(simd, ahead, line * step, 4 * step);
            panel.add::<S, R, 4>(simd, out, line);
            line += 4;
        }
        while line < lines {
            prefetch(simd, ahead, line * step, step);
            panel.add::<S, R, 1>(simd, out, line);
            line += 1;
        }
    }
}

/// What a tile keeps besides its sums.
struct Scratch<'a> {
    /// The queries, padded with zeros: `[rows, lines]`.
    queries: &'a mut [Line],
    scores: &'a mut [Scores],
    /// By what the outputs shrink in this block: `[rows]`.
    factors: &'a mut [f32],
    /// Keys, or values, of a block in single precision, if they are not already.
    wide: &'a mut [Line],
}

impl<'a> Scratch<'a> {
    #[inline(always)]
    fn over(lines: &'a mut [Line], shape: AttendShape, rows: usize) -> Self {
        let (queries, rest) = lines.split_at_mut(rows * shape.lines());
        let (scores, rest) = rest.split_at_mut(rows * BLOCK / LANES);
        let (factors, wide) = rest.split_at_mut(rows.div_ceil(LANES));
        Self { queries, scores: flat_mut(scores).as_chunks_mut().0, factors: flat_mut(factors), wide }
    }
}

/// Copies the queries of a tile to where their vectors are aligned and next to each other.
pub(super) fn pack_queries(call: &Call<'_>, tile: &Tile, scratch: &mut [Line]) {
    let (n, group) = (call.shape.head_dim, call.shape.group());
    let lines = call.shape.lines();
    for (query, rows) in tile.queries.clone().zip(scratch.chunks_exact_mut(group * lines)) {
        for (from, to) in call.queries(tile, query).chunks_exact(n).zip(rows.chunks_exact_mut(lines)) {
            let to = flat_mut(to);
            to[..n].copy_from_slice(from);
            to[n..].fill(0.0);
        }
    }
}

/// Makes the `seen` products of one row their share of the softmax, and adds them to the running sum. Returns by
/// what the output so far shrinks.
#[inline(always)]
fn soften<S: Simd>(simd: S, scores: &mut Scores, seen: usize, scale: f32, max: &mut f32, sum: &mut f32) -> f32 {
    // Where nothing is seen, -inf becomes 0 and adds nothing: all blocks are summed alike.
    scores[seen..].fill(f32::NEG_INFINITY);
    let mut top = simd.splat(f32::NEG_INFINITY);
    for vector in scores.as_chunks_mut().0 {
        let scaled = simd.mul(simd.load(vector), simd.splat(scale));
        top = simd.max(top, scaled);
        simd.store(scaled, vector);
    }
    let new = max.max(simd.largest(top));
    for score in scores.iter_mut() {
        *score = exp(*score - new);
    }
    let mut added = simd.splat(0.0);
    for vector in scores.as_chunks().0 {
        added = simd.add(added, simd.load(vector));
    }
    let shrink = exp(*max - new);
    *max = new;
    *sum = *sum * shrink + simd.sum(added);
    shrink
}
