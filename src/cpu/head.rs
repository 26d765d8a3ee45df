//! The `Head` set: the last row of each sequence that wants logits → final norm → `Logits` [those rows, vocab], one
//! slice of the vocabulary at a time where the cursor says so.

use bevy_ecs::prelude::*;

use super::kernels::{Product, matmul, rms_norm};
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::schedule::Cursor;
use crate::world::activations::{Logits, Residual, Rows};
use crate::world::batch::Batch;
use crate::world::model::Model;

/// What only the head needs.
#[derive(Default)]
pub struct Scratch {
    /// The rows whose logits are wanted, `[rows, hidden_size]`.
    last: Rows,
    /// The same, normalised.
    normed: Rows,
}

/// Computes the slice of the logits that the cursor names.
pub fn compute_logits(
    workers: Res<Workers>,
    cursor: Res<Cursor>,
    model: Single<(&Model<Cpu>, &ModelConfig)>,
    batch: Res<Batch>,
    residual: Res<Residual<Cpu>>,
    mut logits: ResMut<Logits<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let Cursor::Head { rows: slice, vocab_size } = &*cursor else { return };
    let (model, config) = *model;
    let Scratch { last, normed } = &mut *scratch;
    let wanted = batch.logit_rows().count();
    logits.0.resize(wanted, *vocab_size);
    if wanted == 0 {
        return;
    }
    if slice.start == 0 {
        last.resize(wanted, residual.0.width());
        normed.resize(wanted, residual.0.width());
        for (to, (_, from)) in last.rows_mut().zip(batch.logit_rows()) {
            to.copy_from_slice(residual.0.row(from));
        }
        let (width, eps) = (last.width(), config.rms_norm_eps);
        workers.run(|isa| rms_norm(isa, last.values(), width, &model.norm, eps, normed.values_mut()));
    }
    let weights = model.head().weights_of(slice.clone());
    let product = Product { weights, out: &mut logits.0.values_mut()[slice.start..], stride: *vocab_size };
    workers.run(|isa| matmul(isa, normed.values(), normed.width(), [product]));
}
