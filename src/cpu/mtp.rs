//! The head that predicts several tokens, as a model of one layer: what its steps have in place of a trunk's embedding and
//! head. For position p it reads the embedding of token p + 1 beside what the trunk's head read at p, and says token p + 2; what
//! its own head reads then stands in for the trunk's, and so it goes on.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::head::{self, Ends};
use super::kernels::{Product, embed, matmul, rms_norm};
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Logits, Residual, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::Cursor;
use crate::world::draft::{DraftsFor, HiddenStates};
use crate::world::model::{Model, OnModel};
use crate::world::mtp::{HeadOf, MtpHead};

/// What only the head's embedding needs.
#[derive(Default)]
pub struct Scratch {
    /// `[rows, hidden_size]`
    embedded: Rows,
    /// `[rows, hidden_size]`
    hidden: Rows,
    /// Either of them, normalised.
    normed: Rows,
    /// Both, side by side: `[rows, 2 · hidden_size]`.
    joined: Rows,
}

/// In the `Embed` set: embeddings and hidden states → `Residual` [rows, hidden].
pub fn join_hidden(
    workers: Res<Workers>,
    head: OnModel<(&MtpHead<Cpu>, &HeadOf, &ModelConfig)>,
    trunks: Query<&Model<Cpu>>,
    batch: Res<Batch>,
    sequences: Query<&HiddenStates, Allow<Disabled>>,
    mut residual: ResMut<Residual<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let (head, trunk, config) = *head;
    let Ok(trunk) = trunks.get(trunk.0) else { return };
    let (rows, width, eps) = (batch.len(), config.hidden_size, config.rms_norm_eps);
    let Scratch { embedded, hidden, normed, joined } = &mut *scratch;
    embedded.resize(rows, width);
    hidden.resize(rows, width);
    normed.resize(rows, width);
    joined.resize(rows, 2 * width);
    residual.0.resize(rows, width);
    for span in &batch.spans {
        let states = sequences.get(span.sequence).ok();
        for row in span.rows.clone() {
            let state = states.and_then(|states| states.at(batch.positions[row] as usize));
            let to = hidden.slice_mut(row..row + 1);
            // A sequence despawned in the middle of a step has none; nobody will read what comes of its rows.
            match state {
                Some(state) => to.copy_from_slice(state),
                None => to.fill(0.0),
            }
        }
    }
    workers.run(|isa| {
        embed(trunk.embed_tokens.weights(), width, &batch.tokens, embedded.values_mut());
        for (from, norm, half) in [(embedded, &head.pre_fc_norm_embedding, 0), (hidden, &head.pre_fc_norm_hidden, 1)] {
            rms_norm(isa, from.values(), width, norm, eps, normed.values_mut());
            for (to, normed) in joined.rows_mut().zip(normed.values().chunks_exact(width)) {
                to[half * width..][..width].copy_from_slice(normed);
            }
        }
        matmul(isa, joined.values(), 2 * width, [Product::new(head.fc.weights(), &mut residual.0)]);
    });
}

/// In the `Head` set: keeps what the trunk's head reads, for those that guess.
pub fn keep_hidden(
    workers: Res<Workers>,
    cursor: Res<Cursor>,
    model: OnModel<(&Model<Cpu>, &ModelConfig)>,
    batch: Res<Batch>,
    residual: Res<Residual<Cpu>>,
    mut guessing: Query<(&DraftsFor, &mut HiddenStates), Allow<Disabled>>,
    mut normed: Local<Rows>,
) {
    if guessing.is_empty() || !cursor.head().is_some_and(|piece| piece.is_first()) {
        return;
    }
    let (model, config) = *model;
    let (width, eps) = (residual.0.width(), config.rms_norm_eps);
    for (drafts_for, mut states) in &mut guessing {
        for span in batch.spans.iter().filter(|span| span.sequence == drafts_for.sequence) {
            normed.resize(span.rows.len(), width);
            let rows = residual.0.slice(span.rows.clone());
            workers.run(|isa| rms_norm(isa, rows, width, &model.norm, eps, normed.values_mut()));
            states.read(batch.positions[span.rows.start] as usize, width, normed.values());
        }
    }
}

/// In the `Head` set: as [`compute_logits`](super::head::compute_logits), with a norm of its own and the trunk's head. What the
/// head reads is kept for the rows to come.
pub fn compute_draft_logits(
    workers: Res<Workers>,
    cursor: Res<Cursor>,
    head: OnModel<(&MtpHead<Cpu>, &HeadOf, &ModelConfig)>,
    trunks: Query<&Model<Cpu>>,
    batch: Res<Batch>,
    residual: Res<Residual<Cpu>>,
    mut guessing: Query<&mut HiddenStates, (With<DraftsFor>, Allow<Disabled>)>,
    mut logits: ResMut<Logits<Cpu>>,
    mut scratch: Local<head::Scratch>,
) {
    let (head, trunk, config) = *head;
    let (Ok(trunk), Some(piece)) = (trunks.get(trunk.0), cursor.head()) else { return };
    let ends = Ends { norm: &head.norm, eps: config.rms_norm_eps, head: trunk.head() };
    let rows = cursor.logit_rows(&batch).map(|(_, row)| row);
    ends.logits(&workers, piece, &residual.0, rows, &mut logits.0, &mut scratch);
    if !piece.completes_logits() {
        return;
    }
    for (index, (span, row)) in cursor.logit_rows(&batch).enumerate() {
        if let Ok(mut states) = guessing.get_mut(span.sequence) {
            states.follow(batch.positions[row] as usize + 1, scratch.normed(index));
        }
    }
}
