//! The `Head` set: the rows whose logits are wanted → final norm → `Logits` [those rows, vocab], a group of rows and a
//! slice of the vocabulary at a time where the cursor says so.

use bevy_ecs::prelude::*;

use super::kernels::{Product, matmul, rms_norm};
use super::{Cpu, Matrix, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Logits, Residual, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::{Cursor, HeadPiece};
use crate::world::model::{Model, OnModel};

/// What only the head needs.
#[derive(Default)]
pub struct Scratch {
    /// The rows whose logits are wanted, `[rows, hidden_size]`.
    wanted: Rows,
    /// The same, normalised.
    normed: Rows,
}

impl Scratch {
    /// What the head read of a row whose logits were wanted.
    pub(super) fn normed(&self, index: usize) -> &[f32] {
        self.normed.row(index)
    }
}

/// Computes the slice of the logits that the cursor names.
pub fn compute_logits(
    workers: Res<Workers>,
    cursor: Res<Cursor>,
    model: OnModel<(&Model<Cpu>, &ModelConfig)>,
    batch: Res<Batch>,
    residual: Res<Residual<Cpu>>,
    mut logits: ResMut<Logits<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let Some(piece) = cursor.head() else { return };
    let (model, config) = *model;
    let ends = Ends { norm: &model.norm, eps: config.rms_norm_eps, head: model.head() };
    let rows = cursor.logit_rows(&batch).map(|(_, row)| row);
    ends.logits(&workers, piece, &residual.0, rows, &mut logits.0, &mut scratch);
}

/// What comes after the last layer.
pub(super) struct Ends<'a> {
    pub(super) norm: &'a [f32],
    pub(super) eps: f32,
    pub(super) head: &'a Matrix,
}

impl Ends<'_> {
    /// Computes a piece of the logits of some rows.
    pub(super) fn logits(
        &self,
        workers: &Workers,
        piece: &HeadPiece,
        residual: &Rows,
        from: impl Iterator<Item = usize>,
        logits: &mut Rows,
        scratch: &mut Scratch,
    ) {
        let (rows, slice, vocab_size) = (piece.rows(), piece.slice(), piece.vocab_size());
        let Scratch { wanted, normed } = scratch;
        logits.resize(rows, vocab_size);
        if rows == 0 {
            return;
        }
        if slice.start == 0 {
            wanted.resize(rows, residual.width());
            normed.resize(rows, residual.width());
            wanted.rows_mut().zip(from).for_each(|(to, from)| to.copy_from_slice(residual.row(from)));
            let width = wanted.width();
            workers.run(|isa| rms_norm(isa, wanted.values(), width, self.norm, self.eps, normed.values_mut()));
        }
        let weights = self.head.weights_of(slice.clone());
        let product = Product { weights, out: &mut logits.values_mut()[slice.start..], stride: vocab_size };
        workers.run(|isa| matmul(isa, normed.values(), normed.width(), [product]));
    }
}
