//! The rows of a tile over the positions of a segment.

use std::ops::Range;

use super::call::{AttendShape, BLOCK, Call, Running, SEGMENT, Scores, Tile};
use super::panel::Panel;
use crate::cpu::kernels::exp::exp;
use crate::cpu::kernels::simd::{LANES, Line, Simd, flat_mut, per_isa};

/// The rows, and the positions, of which all products are summed at once.
const SIDE: usize = 4;

/// The lines of scratch memory that [`sweep`] takes.
pub(super) fn scratch_lines(shape: AttendShape, rows: usize) -> usize {
    rows * (shape.lines() + BLOCK / LANES) + rows.div_ceil(LANES)
}

per_isa! {
    /// Runs the rows of a tile over the positions of segment `segment`, from empty sums.
    pub(super) fn sweep(
        simd, call: &Call<'_>, tile: &Tile, segment: usize, running: &mut Running<'_>, scratch: &mut [Line],
    ) {
        running.max.fill(f32::NEG_INFINITY);
        running.sum.fill(0.0);
        running.out.fill(Line::ZERO);
        let group = call.shape.group();
        let end = (segment * SEGMENT + SEGMENT).min(call.position(tile.queries.end));
        for start in (segment * SEGMENT..end).step_by(BLOCK) {
            let mut block = Block { call, tile, start, running: &mut *running, scratch: &mut *scratch };
            // The first queries may end within the block, each at its own position; the others see all of it.
            let whole = (start + BLOCK - 1).saturating_sub(call.first_position);
            let whole = whole.clamp(tile.queries.start, tile.queries.end);
            for query in tile.queries.start..whole {
                let row = (query - tile.queries.start) * group;
                let seen = (call.position(query) + 1).saturating_sub(start);
                block.run(simd, row..row + group, seen);
            }
            let row = (whole - tile.queries.start) * group;
            block.run(simd, row..call.rows(tile), BLOCK);
        }
    }
}

/// The positions `start` and after, for all rows of a tile.
struct Block<'a, 'b> {
    call: &'a Call<'a>,
    tile: &'a Tile,
    start: usize,
    running: &'a mut Running<'b>,
    scratch: &'a mut [Line],
}

impl Block<'_, '_> {
    /// Adds the first `seen` positions of the block to some rows.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, rows: Range<usize>, seen: usize) {
        if rows.is_empty() || seen == 0 {
            return;
        }
        for row in rows.clone().step_by(SIDE) {
            self.score(simd, &rows, row, seen);
        }
        let scratch = Scratch::over(self.scratch, self.call.shape, self.running.max.len());
        if rows.start == 0
            && let Some(next) = self.call.blocks.get(self.start / BLOCK + 1)
        {
            prefetch(simd, next.keys(self.tile.kv_head), BLOCK * self.call.shape.head_dim);
        }
        for row in rows.clone() {
            let (max, sum) = (&mut self.running.max[row], &mut self.running.sum[row]);
            scratch.factors[row] = soften(simd, &mut scratch.scores[row], seen, self.call.scale, max, sum);
        }
        let mut row = rows.start;
        while row + SIDE <= rows.end {
            self.accumulate::<S, SIDE>(simd, row, seen);
            row += SIDE;
        }
        while row < rows.end {
            self.accumulate::<S, 1>(simd, row, seen);
            row += 1;
        }
    }

    /// The scores of rows `row` and after, four of them, at the first `seen` positions. Beyond the ends, the last row
    /// and the last position are repeated.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, rows: &Range<usize>, row: usize, seen: usize) {
        let (n, lines) = (self.call.shape.head_dim, self.call.shape.lines());
        let scratch = Scratch::over(self.scratch, self.call.shape, self.running.max.len());
        let mut queries: [&[Line]; SIDE] = [&[]; SIDE];
        for (i, query) in queries.iter_mut().enumerate() {
            *query = &scratch.queries[(row + i).min(rows.end - 1) * lines..][..lines];
        }
        let block = self.call.blocks[self.start / BLOCK];
        let (block, values) = (&block.keys(self.tile.kv_head)[..seen * n], block.values(self.tile.kv_head));
        for position in (0..seen).step_by(SIDE) {
            if row == 0 {
                // One after the other, keys and values would each wait for memory, and the other way round.
                prefetch(simd, &values[position * n..], SIDE * n);
            }
            let mut keys: [&[f32]; SIDE] = [&[]; SIDE];
            for (i, key) in keys.iter_mut().enumerate() {
                *key = &block[(position + i).min(seen - 1) * n..][..n];
            }
            let products = if S::WIDE {
                square(dots(simd, queries, keys))
            } else {
                let mut products = [[simd.splat(0.0); SIDE]; SIDE];
                for (products, query) in products.iter_mut().zip(queries) {
                    [*products] = dots(simd, [query], keys);
                }
                square(products)
            };
            let mut sums = [0.0; LANES];
            simd.store(simd.sums(products), &mut sums);
            for (i, sums) in sums.as_chunks::<SIDE>().0.iter().enumerate() {
                if row + i < rows.end {
                    scratch.scores[row + i].as_chunks_mut::<SIDE>().0[position / SIDE] = *sums;
                }
            }
        }
    }

    /// Shrinks the output of `R` rows from `row` and adds the values of the first `seen` positions.
    #[inline(always)]
    fn accumulate<S: Simd, const R: usize>(&mut self, simd: S, row: usize, seen: usize) {
        let n = self.call.shape.head_dim;
        let lines = self.call.shape.lines();
        let values = &self.call.blocks[self.start / BLOCK].values(self.tile.kv_head)[..seen * n];
        let scratch = Scratch::over(self.scratch, self.call.shape, self.running.max.len());
        let (scores, factors) = (&scratch.scores[row..row + R], &scratch.factors[row..row + R]);
        let panel = Panel { values, head_dim: n, scores, factors };
        let out = &mut self.running.out[row * lines..(row + R) * lines];
        let mut line = 0;
        if S::WIDE {
            while (line + 4) * LANES <= n {
                panel.add::<S, R, 4>(simd, out, line);
                line += 4;
            }
        }
        while line < lines {
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
}

impl<'a> Scratch<'a> {
    #[inline(always)]
    fn over(lines: &'a mut [Line], shape: AttendShape, rows: usize) -> Self {
        let (queries, rest) = lines.split_at_mut(rows * shape.lines());
        let (scores, factors) = rest.split_at_mut(rows * BLOCK / LANES);
        Self { queries, scores: flat_mut(scores).as_chunks_mut().0, factors: flat_mut(factors) }
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

/// Asks for the first `count` numbers of `from`, or for as many as there are.
#[inline(always)]
fn prefetch<S: Simd>(simd: S, from: &[f32], count: usize) {
    for line in from[..count.min(from.len())].chunks(LANES) {
        simd.prefetch(line.as_ptr());
    }
}

/// The lane-wise sums of products of each of `R` rows with each of four keys.
#[inline(always)]
fn dots<S: Simd, const R: usize>(simd: S, queries: [&[Line]; R], keys: [&[f32]; SIDE]) -> [[S::V; SIDE]; R] {
    let mut sums = [[simd.splat(0.0); SIDE]; R];
    let full = keys[0].len() / LANES;
    // Cut to one length, so that one comparison in the loop stands for all bounds.
    let vectors = keys.map(|key| &key.as_chunks::<LANES>().0[..full]);
    let whole = queries.map(|query| &query[..full]);
    for line in 0..full {
        for (sums, query) in sums.iter_mut().zip(whole) {
            let query = simd.load(&query[line].0);
            for (sum, key) in sums.iter_mut().zip(vectors) {
                *sum = simd.fma(query, simd.load(&key[line]), *sum);
            }
        }
    }
    if full < queries[0].len() {
        for (sums, query) in sums.iter_mut().zip(queries) {
            let query = simd.load(&query[full].0);
            for (sum, key) in sums.iter_mut().zip(keys) {
                *sum = simd.fma(query, simd.load_part(&key[full * LANES..]), *sum);
            }
        }
    }
    sums
}

/// The four times four vectors in one array.
#[inline(always)]
fn square<V: Copy>(rows: [[V; SIDE]; SIDE]) -> [V; LANES] {
    std::array::from_fn(|i| rows[i / SIDE][i % SIDE])
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
