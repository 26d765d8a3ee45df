//! The gated delta rule (Yang, Kautz and Hatamizadeh, "Gated Delta Networks", 2024; transformers' models/qwen3_5), in
//! chunks of 16 positions. Every value head has a state `S` `[key_head_dim, value_head_dim]`. Row after row, the rule is
//!
//! 1. `k = k / sqrt(sum k^2 + 1e-6)`, the same for `q`, and `q = q / sqrt(key_head_dim)`.
//! 2. `decay = exp(-exp(A_log) * softplus(a + dt_bias))` and `beta = sigmoid(b)`.
//! 3. `S = S * decay`.
//! 4. `u = (v - k S) * beta`, the pseudo-value.
//! 5. `S = S + k^T u`.
//! 6. `out = q S`.
//!
//! Within a chunk the state stays as it was at its start, `S0`, and steps 3 to 6 are written out: with `decay(i, t)` the
//! product of the decays of the rows after `i` up to `t`, and `decay(t)` that of all rows up to `t`,
//!
//! - `u[t] = beta * (v[t] - decay(t) * k[t] S0 - sum over i < t of decay(i, t) * (k[t] . k[i]) * u[i])`,
//! - `out[t] = decay(t) * q[t] S0 + sum over i <= t of decay(i, t) * (q[t] . k[i]) * u[i]`,
//! - after its last row, `S = decay(15) * S0 + sum over i of decay(i, 15) * k[i]^T u[i]`.
//!
//! So a row reads the state once, and it is written once in 16 rows. Chunks begin at multiples of 16 positions, counted
//! from the start of the sequence, and all sums run in the order of their rows or elements: a row's bits are the same
//! whether it comes alone or with others. To take rows back is to forget them, as far as the last multiple.
//!
//! Columns of `S` do not depend on each other: they are worked on in blocks that stay in the nearest caches.

mod block;
mod head;
mod scalars;
mod shape;
#[cfg(test)]
mod tests;
mod weights;

use std::ops::Range;

use self::block::{BLOCK_LINES, Block};
use self::head::{KeyHead, Piece};
use self::scalars::Scalars;
pub use self::shape::{DELTA_CHUNK, DeltaChunk, DeltaInputs, DeltaMemory, DeltaShape};
use self::weights::Weights;
use super::isa::Isa;
use super::pool;
use super::simd::{LANES, Line, per_isa};
use super::split::{self, Disjoint, with_scratch};
use crate::tally;

/// The elements of state times rows from which another thread pays.
const LEAST_ELEMENTS: usize = 64 * 1024;

/// Runs the rule over the rows of `inputs` and has `memory` remember them; `out` is
/// `[rows, value_heads, value_head_dim]`. The caller counts the rows in `since`.
///
/// # Panics
///
/// Where the shapes do not fit each other, or a multiple of [`DELTA_CHUNK`] is reached with a state to be kept.
pub fn delta_rule(isa: Isa, shape: DeltaShape, inputs: &DeltaInputs<'_>, memory: DeltaMemory<'_>, out: &mut [f32]) {
    check(shape, inputs, &memory, out);
    let rows = out.len() / shape.value_dim();
    if rows == 0 {
        return;
    }
    let DeltaMemory { since, rows: remembered, state } = memory;
    count(shape, inputs, since, rows);
    let scalars = Scalars::new(isa, shape, inputs);
    let Some(last) = Piece::all(since, rows).last() else { return };
    let mut pseudo_values = if last.completes() { Vec::new() } else { vec![0.0; last.len() * shape.value_dim()] };
    {
        let state = match state {
            DeltaChunk::Kept(state) => State::Kept(state),
            DeltaChunk::Advanced(state) => State::Advanced(Disjoint::new(state)),
        };
        let (out, pseudo_values) = (Disjoint::new(out), Disjoint::new(&mut pseudo_values));
        let call =
            Call { shape, inputs, scalars: &scalars, since, rows, earlier: remembered, state, pseudo_values, out };
        let per_head = shape.value_head_dim.div_ceil(BLOCK_LINES * LANES);
        let blocks = shape.group() * per_head;
        // As few tasks as keep all threads busy: those of a key head repeat what its blocks have in common.
        let parts = (2 * pool::threads()).div_ceil(shape.key_heads).min(blocks);
        let run = |index: usize| {
            let (head, part) = (index / parts, index % parts);
            let blocks = part * blocks / parts..(part + 1) * blocks / parts;
            with_scratch(KeyHead::lines(shape) + Block::LINES, |lines| run_blocks(isa, &call, head, blocks, lines));
        };
        if rows * shape.state_len() < LEAST_ELEMENTS {
            (0..shape.key_heads * parts).for_each(run);
        } else {
            split::each(shape.key_heads * parts, run);
        }
    }
    remember(shape, inputs, &scalars, last, &pseudo_values, remembered);
}

/// A state that several threads work on, each on blocks of its own.
enum State<'a> {
    Kept(&'a [f32]),
    Advanced(Disjoint<'a>),
}

impl State<'_> {
    /// # Safety
    ///
    /// While this lives, nothing else accesses these elements.
    unsafe fn block(&self, range: Range<usize>) -> DeltaChunk<'_> {
        match self {
            Self::Kept(state) => DeltaChunk::Kept(&state[range]),
            // SAFETY: the caller promises it.
            Self::Advanced(state) => DeltaChunk::Advanced(unsafe { state.piece(range) }),
        }
    }
}

/// What the tasks of one call share.
struct Call<'a> {
    shape: DeltaShape,
    inputs: &'a DeltaInputs<'a>,
    scalars: &'a Scalars,
    since: usize,
    rows: usize,
    /// The rows since the last multiple before the call.
    earlier: &'a [f32],
    state: State<'a>,
    /// Of the last piece, unless it completes its chunk: `[rows, value_dim]`.
    pseudo_values: Disjoint<'a>,
    out: Disjoint<'a>,
}

per_isa! {
    /// Runs all rows of `call` over some `blocks` of the value heads that share a key head. They are this task's alone.
    fn run_blocks(simd, call: &Call<'_>, key_head: usize, blocks: Range<usize>, scratch: &mut [Line]) {
        let shape = call.shape;
        let per_head = shape.value_head_dim.div_ceil(BLOCK_LINES * LANES);
        let (units, rows) = scratch.split_at_mut(KeyHead::lines(shape));
        let mut head = KeyHead::new(shape, key_head, call.earlier, units);
        let (mut weights, mut block) = (Weights::new(), Block::new(rows));
        for piece in Piece::all(call.since, call.rows) {
            head.read(simd, call.inputs, call.scalars, piece);
            let mut weighted = None;
            for index in blocks.clone() {
                let (value_head, start) =
                    (shape.value_head(key_head, index / per_head), index % per_head * BLOCK_LINES);
                if weighted != Some(value_head) {
                    weights.set(shape, value_head, call.scalars, call.earlier, piece, &head);
                    weighted = Some(value_head);
                }
                let lines = BLOCK_LINES.min(shape.value_head_dim.div_ceil(LANES) - start);
                let first = start * LANES;
                let columns = first..shape.value_head_dim.min(first + BLOCK_LINES * LANES);
                call.fetch(value_head, columns.clone(), piece, &mut block);
                let state = value_head * shape.head_len() + first * shape.key_head_dim;
                // SAFETY: the block is this task's alone, and no other piece of the state is alive in it.
                let state = unsafe { call.state.block(state..state + lines * LANES * shape.key_head_dim) };
                block.run(simd, state, lines, piece, &head, &weights);
                // SAFETY: these columns are this task's alone.
                unsafe { call.put(value_head, columns, piece, &block) };
            }
        }
    }
}

impl Call<'_> {
    /// Puts the pseudo-values before `piece` and the values of its rows in their places.
    #[inline(always)]
    fn fetch(&self, head: usize, columns: Range<usize>, piece: Piece, block: &mut Block<'_>) {
        for (row, to) in block.pseudo_values[..piece.end].iter_mut().enumerate() {
            let from = match row.checked_sub(piece.start) {
                Some(i) => &self.inputs.value(self.shape, piece.row + i, head)[columns.clone()],
                None => &self.earlier[self.shape.pseudo_value_at(head, row)][columns.clone()],
            };
            let mut from = from.chunks(LANES);
            for line in to {
                // Zeros beyond, so that the state stays zero there, too.
                *line = from.next().map_or(Line::ZERO, line_of);
            }
        }
    }

    /// Writes what the rule gave for the rows of `piece`, and their pseudo-values if they are to be remembered.
    ///
    /// # Safety
    ///
    /// Nothing else accesses these columns of this head in what is written.
    #[inline(always)]
    unsafe fn put(&self, head: usize, columns: Range<usize>, piece: Piece, block: &Block<'_>) {
        for i in 0..piece.len() {
            let to = |row: usize| {
                let at = (row * self.shape.value_heads + head) * self.shape.value_head_dim;
                at + columns.start..at + columns.end
            };
            let row = piece.start + i;
            // SAFETY: the caller promises it.
            let out = unsafe { self.out.piece(to(piece.row + i)) };
            copy_lines(&block.out[row], out);
            if !piece.completes() {
                // SAFETY: as above; only the last piece does not complete its chunk.
                let pseudo_values = unsafe { self.pseudo_values.piece(to(i)) };
                copy_lines(&block.pseudo_values[row], pseudo_values);
            }
        }
    }
}

/// Numbers of at most one line, filled up with zeros. Copying a whole line is no call.
#[inline(always)]
fn line_of(numbers: &[f32]) -> Line {
    if let Some(numbers) = numbers.as_array() {
        return Line(*numbers);
    }
    let mut line = Line::ZERO;
    line.0[..numbers.len()].copy_from_slice(numbers);
    line
}

/// Copies as many numbers as there is room for.
#[inline(always)]
fn copy_lines(lines: &[Line], to: &mut [f32]) {
    for (line, to) in lines.iter().zip(to.chunks_mut(LANES)) {
        match to.as_mut_array() {
            Some(to) => *to = line.0,
            None => to.copy_from_slice(&line.0[..to.len()]),
        }
    }
}

/// Keeps the rows of `last`, unless the state has them.
fn remember(
    shape: DeltaShape,
    inputs: &DeltaInputs<'_>,
    scalars: &Scalars,
    last: Piece,
    pseudo_values: &[f32],
    remembered: &mut [f32],
) {
    for (i, pseudo_values) in pseudo_values.chunks_exact(shape.value_dim()).enumerate() {
        let (row, place) = (last.row + i, last.start + i);
        for head in 0..shape.key_heads {
            let (_, key) = inputs.query_and_key(shape, row, head);
            let scale = scalars.scales[row * shape.key_heads + head].key;
            for (to, key) in remembered[shape.key_at(head, place)].iter_mut().zip(key) {
                *to = key * scale;
            }
        }
        for (head, pseudo_value) in pseudo_values.chunks_exact(shape.value_head_dim).enumerate() {
            remembered[shape.pseudo_value_at(head, place)].copy_from_slice(pseudo_value);
            remembered[shape.decay_at(head, place)] = scalars.gates[row * shape.value_heads + head].decay;
        }
    }
}

/// Tells the tally what a call moves and computes.
fn count(shape: DeltaShape, inputs: &DeltaInputs<'_>, since: usize, rows: usize) {
    let end = since + rows;
    let (chunks, written) = (end / DELTA_CHUNK, end >= DELTA_CHUNK);
    let remembered = if written { since + end % DELTA_CHUNK } else { end };
    let numbers = inputs.qkv.len()
        + inputs.a.len()
        + inputs.b.len()
        + rows * shape.value_dim()
        + (1 + usize::from(written)) * shape.state_len()
        + remembered * (shape.key_dim() + shape.value_dim() + shape.value_heads);
    // The sums over earlier rows of the chunk: for each, of two products and in two results.
    let before: usize = (since..end).map(|row| row % DELTA_CHUNK).sum();
    let pairs = 4 * before * (shape.key_dim() + shape.value_dim());
    tally::add(numbers * size_of::<f32>(), (4 * rows + 2 * DELTA_CHUNK * chunks) * shape.state_len() + pairs);
}

fn check(shape: DeltaShape, inputs: &DeltaInputs<'_>, memory: &DeltaMemory<'_>, out: &[f32]) {
    assert!(shape.key_heads > 0 && shape.key_head_dim > 0 && shape.value_dim() > 0, "{shape:?}");
    assert!(shape.value_heads.is_multiple_of(shape.key_heads), "{shape:?}");
    assert!(out.len().is_multiple_of(shape.value_dim()), "whole rows of {shape:?}");
    let rows = out.len() / shape.value_dim();
    assert_eq!(inputs.qkv.len(), rows * shape.qkv_dim(), "queries, keys and values of {rows} rows");
    assert_eq!(inputs.a.len(), rows * shape.value_heads, "decays of {rows} rows");
    assert_eq!(inputs.b.len(), rows * shape.value_heads, "learning rates of {rows} rows");
    assert_eq!(inputs.decay_rate.len(), shape.value_heads, "a decay rate for each value head");
    assert_eq!(inputs.dt_bias.len(), shape.value_heads, "a bias for each value head");
    assert!(memory.since < DELTA_CHUNK, "{} rows since the last multiple", memory.since);
    assert_eq!(memory.rows.len(), shape.rows_len(), "the rows of {shape:?}");
    assert_eq!(memory.state.numbers().len(), shape.state_len(), "the state of {shape:?}");
    let kept = matches!(memory.state, DeltaChunk::Kept(_));
    assert!(!kept || memory.since + rows < DELTA_CHUNK, "{rows} rows after {} change the state", memory.since);
}
