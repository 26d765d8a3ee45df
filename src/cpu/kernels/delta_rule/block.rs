//! One block of columns of one head's state, through all tokens of a call.

use std::mem;
use std::ops::Range;

use super::scalars::Scalars;
use super::{DeltaInputs, DeltaShape};
use crate::cpu::kernels::Isa;
use crate::cpu::kernels::simd::{LANES, Line, Simd, flat, flat_mut, per_isa};
use crate::cpu::kernels::split::{Disjoint, with_scratch};

/// The columns of a block: with 128 rows, 32 KB.
pub(super) const COLUMNS: usize = 64;

/// The exclusive right to some columns of one value head, in the state and in the output.
pub(super) struct Block<'a> {
    shape: DeltaShape,
    head: usize,
    columns: Range<usize>,
    state: &'a Disjoint<'a>,
    out: &'a Disjoint<'a>,
}

impl<'a> Block<'a> {
    /// # Safety
    ///
    /// While this lives, nothing else accesses these columns of this head in `state` or `out`.
    pub(super) unsafe fn new(
        shape: DeltaShape,
        head: usize,
        columns: Range<usize>,
        state: &'a Disjoint<'a>,
        out: &'a Disjoint<'a>,
    ) -> Self {
        Self { shape, head, columns, state, out }
    }

    /// The columns `start..end` of the block in row `row` of the state.
    #[inline(always)]
    fn state(&mut self, row: usize, columns: &Range<usize>) -> &mut [f32] {
        let start = (self.head * self.shape.key_head_dim + row) * self.shape.value_head_dim;
        // SAFETY: these columns belong to the block alone, and `self` is borrowed for as long as the piece.
        unsafe { self.state.piece(start + columns.start..start + columns.end) }
    }

    /// The columns `start..end` of the block in the output of token `token`.
    #[inline(always)]
    fn out(&mut self, token: usize, columns: &Range<usize>) -> &mut [f32] {
        let start = (token * self.shape.value_heads + self.head) * self.shape.value_head_dim;
        // SAFETY: these columns belong to the block alone, and `self` is borrowed for as long as the piece.
        unsafe { self.out.piece(start + columns.start..start + columns.end) }
    }
}

/// Runs the tokens of `scalars` `[rows, value_heads]` over a block.
pub(super) fn run_block(isa: Isa, inputs: &DeltaInputs<'_>, scalars: &[Scalars], block: Block<'_>) {
    let key_head_dim = block.shape.key_head_dim;
    let block_lines = key_head_dim * COLUMNS / LANES;
    with_scratch(block_lines + 4 * key_head_dim.div_ceil(LANES), |scratch| {
        let (state, tokens) = scratch.split_at_mut(block_lines);
        run_vectors(isa, inputs, scalars, block, state, tokens);
    });
}

per_isa! {
    fn run_vectors(
        simd, inputs: &DeltaInputs<'_>, scalars: &[Scalars], block: Block<'_>, state: &mut [Line], tokens: &mut [Line],
    ) {
        if S::WIDE {
            run_columns::<S, 4>(simd, inputs, scalars, block, state, tokens);
        } else {
            run_columns::<S, 2>(simd, inputs, scalars, block, state, tokens);
        }
    }
}

/// Runs a block `N` vectors at a time: as many as leave registers for two sums and a correction of each.
#[inline(always)]
fn run_columns<S: Simd, const N: usize>(
    simd: S,
    inputs: &DeltaInputs<'_>,
    scalars: &[Scalars],
    mut block: Block<'_>,
    state: &mut [Line],
    tokens: &mut [Line],
) {
    let state = &mut state.as_chunks_mut::<N>().0[..block.shape.key_head_dim];
    let mut start = block.columns.start;
    while start < block.columns.end {
        let (end, full) = (block.columns.end, start + N * LANES);
        if full <= end {
            run_tokens::<S, N, true>(simd, inputs, scalars, &mut block, &(start..full), state, tokens);
        } else {
            run_tokens::<S, N, false>(simd, inputs, scalars, &mut block, &(start..end), state, tokens);
        }
        start = full;
    }
}

/// Runs all tokens over `columns`, which are `N` vectors if `FULL`, and fewer otherwise, with their `state` in scratch.
#[inline(always)]
fn run_tokens<S: Simd, const N: usize, const FULL: bool>(
    simd: S,
    inputs: &DeltaInputs<'_>,
    scalars: &[Scalars],
    block: &mut Block<'_>,
    columns: &Range<usize>,
    state: &mut [[Line; N]],
    tokens: &mut [Line],
) {
    let (shape, head) = (block.shape, block.head);
    let rows = scalars.len() / shape.value_heads;
    let (first, second) = tokens.split_at_mut(tokens.len() / 2);
    let (mut token, mut next) = (Token::new(first), Token::new(second));
    token.read(shape, inputs, scalars, head, 0);
    if rows == 1 {
        let memory = recall::<S, N, FULL>(simd, &token, block, columns);
        let delta = token.delta::<S, N, FULL>(simd, inputs, block, 0, columns, memory);
        let out = correct::<S, N, FULL>(simd, &token, &delta, block, columns);
        return put::<S, N, FULL>(simd, &out, block.out(0, columns));
    }
    let mut memory = enter::<S, N, FULL>(simd, &token, block, columns, state);
    for row in 0..rows {
        let delta = token.delta::<S, N, FULL>(simd, inputs, block, row, columns, memory);
        let out = if row + 1 < rows {
            next.read(shape, inputs, scalars, head, row + 1);
            let (out, next_memory) = step(simd, &token, &next, &delta, state);
            memory = next_memory;
            out
        } else {
            leave::<S, N, FULL>(simd, &token, &delta, block, columns, state)
        };
        put::<S, N, FULL>(simd, &out, block.out(row, columns));
        mem::swap(&mut token, &mut next);
    }
}

/// The `k S` of a single token, which leaves the state as it is.
#[inline(always)]
fn recall<S: Simd, const N: usize, const FULL: bool>(
    simd: S,
    token: &Token<'_>,
    block: &mut Block<'_>,
    columns: &Range<usize>,
) -> [S::V; N] {
    let decay = simd.splat(token.scalars.decay);
    let mut memory = [simd.splat(0.0); N];
    for (i, &k) in token.k().iter().enumerate() {
        let before = fetch::<S, N, FULL>(simd, block.state(i, columns));
        for n in 0..N {
            memory[n] = simd.fma(simd.mul(before[n], decay), simd.splat(k), memory[n]);
        }
    }
    memory
}

/// Decays the state and corrects it by `delta` for a single token; returns `q S`. Decaying twice, here and in [`recall`],
/// is cheaper than keeping a copy, which does not fit into the nearest cache beside the state.
#[inline(always)]
fn correct<S: Simd, const N: usize, const FULL: bool>(
    simd: S,
    token: &Token<'_>,
    delta: &[S::V; N],
    block: &mut Block<'_>,
    columns: &Range<usize>,
) -> [S::V; N] {
    let decay = simd.splat(token.scalars.decay);
    let mut out = [simd.splat(0.0); N];
    for (i, (&k, &q)) in token.k().iter().zip(token.q()).enumerate() {
        let mut after = fetch::<S, N, FULL>(simd, block.state(i, columns));
        for n in 0..N {
            after[n] = simd.fma(simd.splat(k), delta[n], simd.mul(after[n], decay));
            out[n] = simd.fma(after[n], simd.splat(q), out[n]);
        }
        put::<S, N, FULL>(simd, &after, block.state(i, columns));
    }
    out
}

/// Copies the columns into scratch, decayed for their first token; returns `k S`.
#[inline(always)]
fn enter<S: Simd, const N: usize, const FULL: bool>(
    simd: S,
    token: &Token<'_>,
    block: &mut Block<'_>,
    columns: &Range<usize>,
    state: &mut [[Line; N]],
) -> [S::V; N] {
    let decay = simd.splat(token.scalars.decay);
    let mut memory = [simd.splat(0.0); N];
    for (i, (row, &k)) in state.iter_mut().zip(token.k()).enumerate() {
        let before = fetch::<S, N, FULL>(simd, block.state(i, columns));
        for n in 0..N {
            let s = simd.mul(before[n], decay);
            memory[n] = simd.fma(s, simd.splat(k), memory[n]);
            simd.store(s, &mut row[n].0);
        }
    }
    memory
}

/// Corrects the state by `delta` and reads it out for `token`, then decays it for `next`; returns `q S` and the `k S`
/// of `next`.
#[inline(always)]
fn step<S: Simd, const N: usize>(
    simd: S,
    token: &Token<'_>,
    next: &Token<'_>,
    delta: &[S::V; N],
    state: &mut [[Line; N]],
) -> ([S::V; N], [S::V; N]) {
    let decay = simd.splat(next.scalars.decay);
    let (mut out, mut memory) = ([simd.splat(0.0); N], [simd.splat(0.0); N]);
    let keys = token.k().iter().zip(token.q()).zip(next.k());
    for (row, ((&k, &q), &next_k)) in state.iter_mut().zip(keys) {
        for n in 0..N {
            let s = simd.fma(simd.splat(k), delta[n], simd.load(&row[n].0));
            out[n] = simd.fma(s, simd.splat(q), out[n]);
            let s = simd.mul(s, decay);
            memory[n] = simd.fma(s, simd.splat(next_k), memory[n]);
            simd.store(s, &mut row[n].0);
        }
    }
    (out, memory)
}

/// Corrects the state by `delta` for its last token and copies it back from scratch; returns `q S`.
#[inline(always)]
fn leave<S: Simd, const N: usize, const FULL: bool>(
    simd: S,
    token: &Token<'_>,
    delta: &[S::V; N],
    block: &mut Block<'_>,
    columns: &Range<usize>,
    state: &[[Line; N]],
) -> [S::V; N] {
    let mut out = [simd.splat(0.0); N];
    let keys = token.k().iter().zip(token.q());
    for (i, (row, (&k, &q))) in state.iter().zip(keys).enumerate() {
        let mut after = out;
        for n in 0..N {
            after[n] = simd.fma(simd.splat(k), delta[n], simd.load(&row[n].0));
            out[n] = simd.fma(after[n], simd.splat(q), out[n]);
        }
        put::<S, N, FULL>(simd, &after, block.state(i, columns));
    }
    out
}

/// At most `N` vectors of numbers, the missing ones zero.
#[inline(always)]
fn fetch<S: Simd, const N: usize, const FULL: bool>(simd: S, from: &[f32]) -> [S::V; N] {
    let mut vectors = [simd.splat(0.0); N];
    if FULL {
        for (vector, from) in vectors.iter_mut().zip(from.as_chunks().0) {
            *vector = simd.load(from);
        }
    } else {
        let mut padded = [Line::ZERO; N];
        flat_mut(&mut padded)[..from.len()].copy_from_slice(from);
        for n in 0..N {
            vectors[n] = simd.load(&padded[n].0);
        }
    }
    vectors
}

/// Writes as many of the numbers as there is room for.
#[inline(always)]
fn put<S: Simd, const N: usize, const FULL: bool>(simd: S, vectors: &[S::V; N], to: &mut [f32]) {
    if FULL {
        for (&vector, to) in vectors.iter().zip(to.as_chunks_mut().0) {
            simd.store(vector, to);
        }
        return;
    }
    let mut padded = [Line::ZERO; N];
    for n in 0..N {
        simd.store(vectors[n], &mut padded[n].0);
    }
    to.copy_from_slice(&flat(&padded)[..to.len()]);
}

/// What one token brings to one head, normalised.
struct Token<'a> {
    keys: &'a mut [Line],
    queries: &'a mut [Line],
    head_dim: usize,
    scalars: Scalars,
}

impl<'a> Token<'a> {
    fn new(lines: &'a mut [Line]) -> Self {
        let (keys, queries) = lines.split_at_mut(lines.len() / 2);
        Self { keys, queries, head_dim: 0, scalars: Scalars::default() }
    }

    #[inline(always)]
    fn k(&self) -> &[f32] {
        &flat(self.keys)[..self.head_dim]
    }

    #[inline(always)]
    fn q(&self) -> &[f32] {
        &flat(self.queries)[..self.head_dim]
    }

    /// What the token of row `row` corrects in the state, which answered its key with `memory`.
    #[inline(always)]
    fn delta<S: Simd, const N: usize, const FULL: bool>(
        &self,
        simd: S,
        inputs: &DeltaInputs<'_>,
        block: &Block<'_>,
        row: usize,
        columns: &Range<usize>,
        memory: [S::V; N],
    ) -> [S::V; N] {
        let (shape, head) = (block.shape, block.head);
        let values = &inputs.qkv[row * shape.qkv_dim() + 2 * shape.key_dim() + head * shape.value_head_dim..];
        let values = fetch::<S, N, FULL>(simd, &values[columns.clone()]);
        let mut delta = memory;
        for n in 0..N {
            // As v - k S: the product with -1 is exact.
            let error = simd.fma(memory[n], simd.splat(-1.0), values[n]);
            delta[n] = simd.mul(error, simd.splat(self.scalars.beta));
        }
        delta
    }

    /// Becomes row `row` for value head `head`.
    #[inline(always)]
    fn read(&mut self, shape: DeltaShape, inputs: &DeltaInputs<'_>, scalars: &[Scalars], head: usize, row: usize) {
        let (q, k) = inputs.query_and_key(shape, row, head);
        self.head_dim = shape.key_head_dim;
        self.scalars = scalars[row * shape.value_heads + head];
        for (to, k) in flat_mut(self.keys).iter_mut().zip(k) {
            *to = k * self.scalars.k;
        }
        for (to, q) in flat_mut(self.queries).iter_mut().zip(q) {
            *to = q * self.scalars.q;
        }
    }
}
