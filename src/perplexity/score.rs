//! Part of the `Sample` set: the logits of windows → a score for each token of the text.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::cpu::kernels::{LogSumExp, kl_divergence, log_sum_exp};
use crate::cpu::{Cpu, Workers};
use crate::tally;
use crate::world::activations::{Logits, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::Cursor;

/// How a token of the text was predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// The negative logarithm of the probability it was given, in nats. Not a number until it is scored.
    pub(super) nll: f64,
    /// The token that was given the largest.
    pub(super) likeliest: u32,
}

impl Score {
    pub(super) const NONE: Self = Self { nll: f64::NAN, likeliest: u32::MAX };
}

/// On a sequence that reads a window: where the window's tokens are in the text.
#[derive(Component, Clone, Copy, Debug)]
pub(super) struct Excerpt {
    /// The place of the sequence's first token.
    pub(super) start: usize,
}

/// The text, and how its tokens were predicted.
#[derive(Resource, Default)]
pub(super) struct Scores {
    pub(super) text: Arc<[u32]>,
    /// Of each token of the text.
    pub(super) of_token: Vec<Score>,
    /// What was scored last.
    pub(super) last: Scored,
    /// The other model's distributions, where there is one.
    pub(super) reference: Option<Reference>,
    /// From the reference, at each token of the text.
    pub(super) divergences: Vec<f64>,
}

/// Of one group of logits.
#[derive(Clone, Debug, Default)]
pub(super) struct Scored {
    pub(super) rows: Vec<ScoredRow>,
    /// Of each of them.
    pub(super) sums: Vec<LogSumExp>,
}

/// A row of logits of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScoredRow {
    /// Which row of the logits.
    pub(super) index: usize,
    /// The place in the text of the token it predicts.
    pub(super) token: usize,
}

/// What another model predicts for the same tokens.
#[derive(Default)]
pub(super) struct Reference {
    pub(super) scored: Scored,
    pub(super) logits: Rows,
}

/// Scores the group of logits in hand, and measures how far they are from a reference for the same tokens.
pub(super) fn score_rows(
    workers: Res<Workers>,
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    logits: Res<Logits<Cpu>>,
    mut scores: ResMut<Scores>,
    windows: Query<&Excerpt>,
) {
    let rows: Vec<ScoredRow> = (cursor.logit_rows(&batch).enumerate())
        .filter_map(|(index, (span, row))| {
            let window = windows.get(span.sequence).ok()?;
            Some(ScoredRow { index, token: window.start + batch.positions[row] as usize + 1 })
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let Scores { text, of_token, last, reference, divergences } = &mut *scores;
    tally::add(size_of_val(logits.0.values()), 20 * logits.0.values().len());
    let found: Vec<(Score, LogSumExp)> = workers.map(rows.len(), |isa, at| {
        let row = rows[at];
        let logits = logits.0.row(row.index);
        let sum = log_sum_exp(isa, logits);
        let likeliest = logits.iter().position(|&logit| logit == sum.largest);
        let nll = sum.value() - f64::from(logits[text[row.token] as usize]);
        (Score { nll, likeliest: likeliest.map_or(u32::MAX, |id| id as u32) }, sum)
    });
    for (row, &(score, _)) in rows.iter().zip(&found) {
        of_token[row.token] = score;
    }
    *last = Scored { rows, sums: found.into_iter().map(|(_, sum)| sum).collect() };
    let Some(Reference { scored, logits: reference }) = reference else { return };
    if scored.rows != last.rows {
        return;
    }
    tally::add(2 * size_of_val(logits.0.values()), 20 * logits.0.values().len());
    let found: Vec<f64> = workers.map(last.rows.len(), |isa, at| {
        let row = last.rows[at].index;
        kl_divergence(isa, (reference.row(row), scored.sums[at]), (logits.0.row(row), last.sums[at]))
    });
    for (row, divergence) in last.rows.iter().zip(found) {
        divergences[row.token] = divergence;
    }
}
