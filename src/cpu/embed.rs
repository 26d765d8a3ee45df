//! The `Embed` set: the batch's tokens → `Residual` [rows, hidden].

use bevy_ecs::prelude::*;

use super::kernels::embed;
use super::{Cpu, Workers};
use crate::world::activations::Residual;
use crate::world::batch::Batch;
use crate::world::model::{Model, OnModel};

/// Looks up each token's row of the embedding matrix.
pub fn embed_tokens(
    workers: Res<Workers>,
    model: OnModel<&Model<Cpu>>,
    batch: Res<Batch>,
    mut residual: ResMut<Residual<Cpu>>,
) {
    let table = &model.embed_tokens;
    residual.0.resize(batch.len(), table.cols());
    workers.run(|_| embed(table.weights(), table.cols(), &batch.tokens, residual.0.values_mut()));
}
