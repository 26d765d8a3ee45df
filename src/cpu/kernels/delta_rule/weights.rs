//! How much the state and earlier rows weigh in each row of a value head: products of decays, times products of vectors.

use super::head::{KeyHead, Piece};
use super::scalars::Scalars;
use super::shape::{DELTA_CHUNK, DeltaShape};
use crate::cpu::kernels::simd::Line;

/// The factors of one value head, for the rows of one piece.
pub(super) struct Weights {
    /// Of the state, in what each row recalls and reads.
    pub carry: [f32; DELTA_CHUNK],
    /// Of the pseudo-values before each row, in what its key recalls.
    pub recall: [Line; DELTA_CHUNK],
    /// Of each row's pseudo-value and those before it, in what its query reads.
    pub read: [Line; DELTA_CHUNK],
    /// Of the pseudo-values, in the state after the last row.
    pub keep: Line,
    /// How much of its error each row corrects.
    pub beta: [f32; DELTA_CHUNK],
}

impl Weights {
    pub(super) fn new() -> Self {
        let (numbers, lines) = ([0.0; DELTA_CHUNK], [Line::ZERO; DELTA_CHUNK]);
        Self { carry: numbers, recall: lines, read: lines, keep: Line::ZERO, beta: numbers }
    }

    /// Those of value head `head`; `earlier` has the rows before the piece in its chunk.
    ///
    /// Decays are multiplied row after row, always from the first of the chunk, rather than kept as sums of logarithms:
    /// differences of large sums would lose digits, and those of infinite ones would be no numbers.
    #[inline(always)]
    pub(super) fn set(
        &mut self,
        shape: DeltaShape,
        head: usize,
        scalars: &Scalars,
        earlier: &[f32],
        piece: Piece,
        products: &KeyHead<'_>,
    ) {
        let (mut carry, mut keep) = (1.0, Line::ZERO);
        for row in 0..piece.end {
            let decay = match row.checked_sub(piece.start) {
                None => earlier[shape.decay_at(head, row)],
                Some(i) => {
                    let gates = scalars.gates[(piece.row + i) * shape.value_heads + head];
                    self.beta[row] = gates.beta;
                    gates.decay
                }
            };
            carry *= decay;
            keep.0.iter_mut().for_each(|weight| *weight *= decay);
            keep.0[row] = 1.0;
            if row >= piece.start {
                self.carry[row] = carry;
                for (i, &weight) in keep.0.iter().enumerate() {
                    self.recall[row].0[i] = weight * products.key_products[row].0[i];
                    self.read[row].0[i] = weight * products.query_products[row].0[i];
                }
            }
        }
        self.keep = keep;
    }
}
