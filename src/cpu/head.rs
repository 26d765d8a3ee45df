//! The `Head` set: the rows whose logits are wanted → final norm → `Logits` [those rows, vocab], a group of rows and a
//! slice of the vocabulary at a time where the cursor says so.

use bevy_ecs::prelude::*;

use super::kernels::{Product, matmul, rms_norm};
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Logits, Residual, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::Cursor;
use crate::world::model::{Model, OnModel};

/// What only the head needs.
#[derive(Default)]
pub struct Scratch {
    /// The rows whose logits are wanted, `[rows, hidden_size]`.
    wanted: Rows,
    /// The same, normalised.
    normed: Rows,
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
    let (rows, slice, vocab_size) = (piece.rows(), piece.slice(), piece.vocab_size());
    let (model, config) = *model;
    let Scratch { wanted, normed } = &mut *scratch;
    logits.0.resize(rows, vocab_size);
    if rows == 0 {
        return;
    }
    if slice.start == 0 {
        wanted.resize(rows, residual.0.width());
        normed.resize(rows, residual.0.width());
        for (to, (_, from)) in wanted.rows_mut().zip(cursor.logit_rows(&batch)) {
            to.copy_from_slice(residual.0.row(from));
        }
        let (width, eps) = (wanted.width(), config.rms_norm_eps);
        workers.run(|isa| rms_norm(isa, wanted.values(), width, &model.norm, eps, normed.values_mut()));
    }
    let weights = model.head().weights_of(slice.clone());
    let product = Product { weights, out: &mut logits.0.values_mut()[slice.start..], stride: vocab_size };
    workers.run(|isa| matmul(isa, normed.values(), normed.width(), [product]));
}
