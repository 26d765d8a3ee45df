//! The feed-forward halves: one for all tokens, or experts of which each token goes through a few.

use std::ops::ControlFlow;

use super::parts::Listed;
use super::rows::Rows;
use super::weights::Weights;
use super::{sigmoid, silu};
use crate::convert::error::ConvertError;
use crate::convert::progress::ConvertProgress;
use crate::world::mlp::Mlp;
use crate::world::moe::{Moe, SharedExpert};

pub(super) fn mlp<F: FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>(
    weights: &Weights<'_, F>,
    mlp: &Mlp<Listed>,
    x: &Rows,
) -> Result<Rows, ConvertError> {
    let Mlp { gate_proj, up_proj, down_proj } = mlp;
    let mut gate = weights.product(*gate_proj, x)?;
    let up = weights.product(*up_proj, x)?;
    gate.values.iter_mut().zip(&up.values).for_each(|(gate, up)| *gate = silu(*gate) * up);
    weights.product(*down_proj, &gate)
}

pub(super) fn moe<F: FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>(
    weights: &Weights<'_, F>,
    picked: usize,
    normalised: bool,
    moe: &Moe<Listed>,
    x: &Rows,
) -> Result<Rows, ConvertError> {
    let Moe { gate, experts, shared } = moe;
    let shares = shares(&weights.product(*gate, x)?, picked, normalised);
    let mut out = Rows::zeros(x.len(), x.width);
    for (expert, expert_mlp) in experts.iter().enumerate() {
        let tokens: Vec<usize> = (0..x.len()).filter(|&token| shares.row(token)[expert] > 0.0).collect();
        if tokens.is_empty() {
            continue;
        }
        let own = tokens.iter().flat_map(|&token| x.row(token)).copied().collect();
        let made = mlp(weights, expert_mlp, &Rows { width: x.width, values: own })?;
        for (&token, made) in tokens.iter().zip(made.iter()) {
            add(out.row_mut(token), shares.row(token)[expert], made);
        }
    }
    if let Some(SharedExpert { gate, mlp: shared }) = shared {
        let gates = weights.product(*gate, x)?;
        let made = mlp(weights, shared, x)?;
        for (token, made) in made.iter().enumerate() {
            add(out.row_mut(token), sigmoid(gates.row(token)[0]), made);
        }
    }
    Ok(out)
}

/// Of each token, what each expert's result is multiplied with: nothing for those that it does not go through.
fn shares(logits: &Rows, picked: usize, normalised: bool) -> Rows {
    let mut shares = logits.clone();
    for row in shares.iter_mut() {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let (picked, others) = order.split_at(picked);
        let sum: f64 = if normalised { picked.iter().map(|&at| row[at]).sum() } else { row.iter().sum() };
        others.iter().for_each(|&at| row[at] = 0.0);
        row.iter_mut().for_each(|share| *share /= sum);
    }
    shares
}

fn add(to: &mut [f64], share: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += share * from);
}
