//! One block of columns of one value head's state, and the rows of one chunk.

use super::head::{KeyHead, Piece};
use super::shape::{DELTA_CHUNK, DeltaChunk};
use super::weights::Weights;
use crate::cpu::kernels::simd::{LANES, Line, Simd};

/// The vectors of a block, at most: with 128 rows of state 16 KB, beside which the keys and queries of a chunk fit.
pub(super) const BLOCK_LINES: usize = 2;

/// A row of a block.
type Columns = [Line; BLOCK_LINES];

/// What is at hand while a block is worked on. Rows are at their places in the chunk.
pub(super) struct Block<'a> {
    /// What the state answers to each row's key and to its query, in turn.
    answers: &'a mut [Columns],
    /// The pseudo-values; in their places, to begin with, the values.
    pub pseudo_values: &'a mut [Columns],
    /// What the rule gives.
    pub out: &'a mut [Columns],
}

/// What is asked for of the next block, which lies behind the one in hand, during a pass over this one. The state comes from
/// memory, since all weights go by between two steps: without asking, a token's took 64 µs a layer of the 0.8B shape, with it 55.
#[derive(Clone, Copy)]
struct Ahead {
    from: *const u8,
    /// Bytes for each row of the block in hand: all passes together ask for a whole block, each for its part.
    step: usize,
}

impl Ahead {
    /// That of the first pass for the rows of `piece`, two at a time. What later pieces of a call read is there already.
    #[inline(always)]
    fn of(state: &[f32], lines: usize, piece: Piece) -> Self {
        let step = if piece.row == 0 { lines * size_of::<Line>() / piece.len().div_ceil(2) } else { 0 };
        Self { from: state.as_ptr_range().end.cast(), step }
    }

    /// Where a pass takes several turns, all of it in that with the first columns.
    #[inline(always)]
    fn with(self, first: usize) -> Self {
        if first == 0 { self } else { Self { step: 0, ..self } }
    }

    /// That of the next pass over so many rows.
    #[inline(always)]
    fn after(self, rows: usize) -> Self {
        Self { from: self.from.wrapping_add(rows * self.step), ..self }
    }
}

impl<'a> Block<'a> {
    /// The scratch lines that it needs.
    pub(super) const LINES: usize = 4 * DELTA_CHUNK * BLOCK_LINES;

    pub(super) fn new(scratch: &'a mut [Line]) -> Self {
        let (answers, rows) = scratch.as_chunks_mut().0.split_at_mut(2 * DELTA_CHUNK);
        let (pseudo_values, out) = rows.split_at_mut(DELTA_CHUNK);
        Self { answers, pseudo_values, out }
    }

    /// Runs the rows of `piece` over a block of `lines` vectors. The pseudo-values of the rows before them and the values
    /// of these are in place.
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &mut self,
        simd: S,
        state: DeltaChunk<'_>,
        lines: usize,
        piece: Piece,
        head: &KeyHead<'_>,
        weights: &Weights,
    ) {
        self.ask(simd, state.numbers(), lines, piece, head);
        let mut first = 0;
        while first < lines {
            first += if first + 2 <= lines {
                self.solve::<S, 2>(simd, first, piece, weights)
            } else {
                self.solve::<S, 1>(simd, first, piece, weights)
            };
        }
        if let (true, DeltaChunk::Advanced(state)) = (piece.completes(), state) {
            self.advance(simd, state, lines, piece, head, weights);
        }
    }

    /// The products of keys and queries with the state: two rows at a time, as far as there are two.
    #[inline(always)]
    fn ask<S: Simd>(&mut self, simd: S, state: &[f32], lines: usize, piece: Piece, head: &KeyHead<'_>) {
        let mut ahead = Ahead::of(state, lines, piece);
        let mut row = piece.start;
        while row + 2 <= piece.end {
            let both = [head.key(piece, row), head.query(row), head.key(piece, row + 1), head.query(row + 1)];
            let mut first = 0;
            while first < lines {
                first += if S::WIDE && first + 2 <= lines {
                    self.answer::<S, 4, 2>(simd, row, both, state, lines, first, ahead.with(first))
                } else {
                    self.answer::<S, 4, 1>(simd, row, both, state, lines, first, ahead.with(first))
                };
            }
            ahead = ahead.after(both[0].len());
            row += 2;
        }
        if row < piece.end {
            let one = [head.key(piece, row), head.query(row)];
            let mut first = 0;
            while first < lines {
                first += if first + 2 <= lines {
                    self.answer::<S, 2, 2>(simd, row, one, state, lines, first, ahead.with(first))
                } else {
                    self.answer::<S, 2, 1>(simd, row, one, state, lines, first, ahead.with(first))
                };
            }
        }
    }

    /// The products of `M` vectors, those of the rows from `row` on, with `N` vectors of columns from `first` on. Asks for
    /// what lies `ahead` meanwhile. Returns `N`.
    #[inline(always)]
    fn answer<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        row: usize,
        vectors: [&[f32]; M],
        state: &[f32],
        lines: usize,
        first: usize,
        ahead: Ahead,
    ) -> usize {
        let len = vectors[0].len();
        assert!(vectors.iter().all(|vector| vector.len() == len) && state.len() == len * lines * LANES);
        let mut sums = [[simd.splat(0.0); N]; M];
        let mut columns = [simd.splat(0.0); N];
        for (i, state) in state.chunks_exact(lines * LANES).enumerate() {
            for line in (0..ahead.step).step_by(size_of::<Line>()) {
                simd.prefetch(ahead.from.wrapping_add(i * ahead.step + line));
            }
            let state = state[first * LANES..][..N * LANES].as_chunks().0;
            for n in 0..N {
                columns[n] = simd.load(&state[n]);
            }
            for m in 0..M {
                let x = simd.splat(vectors[m][i]);
                for n in 0..N {
                    sums[m][n] = simd.fma(columns[n], x, sums[m][n]);
                }
            }
        }
        for (answer, sums) in self.answers[2 * row..].iter_mut().zip(sums) {
            for (line, sum) in answer[first..].iter_mut().zip(sums) {
                simd.store(sum, &mut line.0);
            }
        }
        N
    }

    /// From values to pseudo-values and what the rule gives, row by row, for `N` vectors of columns from `first` on. Returns
    /// `N`.
    #[inline(always)]
    fn solve<S: Simd, const N: usize>(&mut self, simd: S, first: usize, piece: Piece, weights: &Weights) -> usize {
        for row in piece.start..piece.end {
            let (before, rest) = self.pseudo_values.split_at_mut(row);
            let (recalled, read, own) = (&self.answers[2 * row], &self.answers[2 * row + 1], &mut rest[0]);
            let carry = weights.carry[row];
            let (mut error, mut out) = ([simd.splat(0.0); N], [simd.splat(0.0); N]);
            for n in 0..N {
                let (value, recalled) = (simd.load(&own[first + n].0), simd.load(&recalled[first + n].0));
                error[n] = simd.fma(recalled, simd.splat(-carry), value);
                out[n] = simd.mul(simd.load(&read[first + n].0), simd.splat(carry));
            }
            for (i, before) in before.iter().enumerate() {
                // With a negative weight: the product with -1 is exact.
                let (recall, read) = (simd.splat(-weights.recall[row].0[i]), simd.splat(weights.read[row].0[i]));
                for n in 0..N {
                    let before = simd.load(&before[first + n].0);
                    error[n] = simd.fma(before, recall, error[n]);
                    out[n] = simd.fma(before, read, out[n]);
                }
            }
            let (beta, read) = (simd.splat(weights.beta[row]), simd.splat(weights.read[row].0[row]));
            for n in 0..N {
                let pseudo_value = simd.mul(error[n], beta);
                simd.store(pseudo_value, &mut own[first + n].0);
                simd.store(simd.fma(pseudo_value, read, out[n]), &mut self.out[row][first + n].0);
            }
        }
        N
    }

    /// Leaves the state as it is after the chunk. The pseudo-values are weighted for it and of no more use.
    #[inline(always)]
    fn advance<S: Simd>(
        &mut self,
        simd: S,
        state: &mut [f32],
        lines: usize,
        piece: Piece,
        head: &KeyHead<'_>,
        weights: &Weights,
    ) {
        for (pseudo_value, weight) in self.pseudo_values.iter_mut().zip(weights.keep.0) {
            for line in &mut pseudo_value[..lines] {
                simd.store(simd.mul(simd.load(&line.0), simd.splat(weight)), &mut line.0);
            }
        }
        let mut first = 0;
        while first < lines {
            first += if S::WIDE && first + 2 <= lines {
                self.add_rows::<S, 8, 2>(simd, state, lines, first, piece, head, weights)
            } else {
                self.add_rows::<S, 4, 1>(simd, state, lines, first, piece, head, weights)
            };
        }
    }

    /// Decays the state and adds the rows to it, `M` at a time, in `N` vectors of columns from `first` on. Returns `N`.
    #[inline(always)]
    fn add_rows<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        state: &mut [f32],
        lines: usize,
        first: usize,
        piece: Piece,
        head: &KeyHead<'_>,
        weights: &Weights,
    ) -> usize {
        let carry = simd.splat(weights.carry[DELTA_CHUNK - 1]);
        for row in (0..DELTA_CHUNK).step_by(M) {
            let mut keys = [head.key(piece, row); M];
            let mut pseudo_values = [[simd.splat(0.0); N]; M];
            for m in 0..M {
                keys[m] = head.key(piece, row + m);
                for (n, line) in self.pseudo_values[row + m][first..][..N].iter().enumerate() {
                    pseudo_values[m][n] = simd.load(&line.0);
                }
            }
            let mut columns = [simd.splat(0.0); N];
            for (i, state) in state.chunks_exact_mut(lines * LANES).take(keys[0].len()).enumerate() {
                let state = state[first * LANES..][..N * LANES].as_chunks_mut().0;
                for n in 0..N {
                    columns[n] = simd.load(&state[n]);
                    if row == 0 {
                        columns[n] = simd.mul(columns[n], carry);
                    }
                }
                for m in 0..M {
                    let key = simd.splat(keys[m][i]);
                    for n in 0..N {
                        columns[n] = simd.fma(pseudo_values[m][n], key, columns[n]);
                    }
                }
                for n in 0..N {
                    simd.store(columns[n], &mut state[n]);
                }
            }
        }
        N
    }
}
