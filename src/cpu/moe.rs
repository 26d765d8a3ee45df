//! The `Mlp` set on layers with experts: `Normed` [rows, hidden] → a router's logits → a few experts for each row → what
//! these make of it, times their shares, added to `Residual` [rows, hidden].
//!
//! The rows of a batch are brought together by expert, so that the weights of each expert that any row goes through are read
//! once, and those of the others not at all.

use bevy_ecs::prelude::*;

use super::kernels::{
    Isa, Mixed, Pick, Product, Shared, add_experts, gather_rows, matmul, matmul_each, pick_experts, silu_mul,
};
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Normed, Residual, Rows};
use crate::world::layer::OnLayer;
use crate::world::mlp::Mlp;
use crate::world::model::OnModel;
use crate::world::moe::{Moe, SharedExpert};

/// What only experts need, kept between steps.
#[derive(Default)]
pub struct Scratch {
    /// The router's, `[rows, num_experts]`
    logits: Rows,
    /// Which experts rows go through, `[rows, num_experts_per_tok]`
    picks: Vec<Pick>,
    by_expert: ByExpert,
    /// The rows of all picks, `[picks, hidden_size]`
    gathered: Rows,
    /// Of the picks.
    experts: Inner,
    /// Of all rows.
    shared: Inner,
    /// `[rows, 1]`
    shared_gate: Rows,
}

/// What an MLP makes on its way.
#[derive(Default)]
struct Inner {
    /// `[_, intermediate_size]`
    gate: Rows,
    /// `[_, intermediate_size]`
    up: Rows,
    /// `silu(gate) · up`, `[_, intermediate_size]`
    gated: Rows,
    /// `[_, hidden_size]`
    down: Rows,
}

/// The picks of all rows, those of an expert together.
#[derive(Default)]
struct ByExpert {
    /// Experts that are picked, and how many rows each has.
    counts: Vec<(usize, usize)>,
    /// The rows, expert after expert.
    rows: Vec<u32>,
    /// Where each pick is in `rows`.
    places: Vec<u32>,
}

impl ByExpert {
    /// Brings together the picks of rows that have `per_row` each, without changing the order of an expert's rows.
    fn sort(&mut self, picks: &[Pick], per_row: usize, experts: usize) {
        let mut next = vec![0; experts + 1];
        picks.iter().for_each(|pick| next[pick.expert as usize + 1] += 1);
        let picked = next.iter().skip(1).enumerate().filter(|&(_, &count)| count > 0);
        self.counts.clear();
        self.counts.extend(picked.map(|(expert, &count)| (expert, count as usize)));
        for expert in 0..experts {
            next[expert + 1] += next[expert];
        }
        self.rows.resize(picks.len(), 0);
        self.places.clear();
        for (index, pick) in picks.iter().enumerate() {
            let place = &mut next[pick.expert as usize];
            self.rows[*place as usize] = (index / per_row) as u32;
            self.places.push(*place);
            *place += 1;
        }
    }
}

/// Runs the layer's experts.
pub fn run_moe(
    workers: Res<Workers>,
    config: OnModel<&ModelConfig>,
    moe: OnLayer<&Moe<Cpu>>,
    normed: Res<Normed<Cpu>>,
    mut residual: ResMut<Residual<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let (Some(settings), Some(first)) = (&config.moe, moe.experts.first()) else { return };
    let Scratch { logits, picks, by_expert, gathered, experts, shared, shared_gate } = &mut *scratch;
    let (normed, per_row) = (&normed.0, settings.num_experts_per_tok);
    logits.resize(normed.len(), moe.gate.rows());
    workers.run(|isa| {
        matmul(isa, normed.values(), normed.width(), [Product::new(moe.gate.weights(), logits)]);
        pick_experts(logits.values(), logits.width(), per_row, settings.norm_topk_prob, picks);
        by_expert.sort(picks, per_row, logits.width());

        gathered.resize(picks.len(), normed.width());
        gather_rows(normed.values(), normed.width(), &by_expert.rows, gathered.values_mut());
        experts.resize(picks.len(), first);
        let chosen = || by_expert.counts.iter().map(|&(expert, count)| (&moe.experts[expert], count));
        experts.run(isa, gathered, chosen);
        if let Some(SharedExpert { gate, mlp }) = &moe.shared {
            shared_gate.resize(normed.len(), 1);
            matmul(isa, normed.values(), normed.width(), [Product::new(gate.weights(), shared_gate)]);
            shared.resize(normed.len(), mlp);
            shared.run(isa, normed, || [(mlp, normed.len())].into_iter());
        }
        let through_all = Shared { gates: shared_gate.values(), made: shared.down.values() };
        let mixed = Mixed {
            picks,
            places: &by_expert.places,
            made: experts.down.values(),
            shared: moe.shared.is_some().then_some(through_all),
        };
        add_experts(isa, residual.0.values_mut(), normed.width(), mixed);
    });
}

impl Inner {
    fn resize(&mut self, rows: usize, mlp: &Mlp<Cpu>) {
        self.gate.resize(rows, mlp.gate_proj.rows());
        self.up.resize(rows, mlp.up_proj.rows());
        self.gated.resize(rows, mlp.up_proj.rows());
        self.down.resize(rows, mlp.down_proj.rows());
    }

    /// Has each MLP of `mlps` work on as many rows of `x` as stand with it, one after the other.
    fn run<'a, I: Iterator<Item = (&'a Mlp<Cpu>, usize)>>(&mut self, isa: Isa, x: &Rows, mlps: impl Fn() -> I) {
        let Self { gate, up, gated, down } = self;
        let (inside, hidden) = (gate.width(), down.width());
        let (mut xs, mut gates, mut ups) = (x.values(), gate.values_mut(), up.values_mut());
        matmul_each(
            isa,
            hidden,
            mlps().map(|(mlp, rows)| {
                let x = xs.split_off(..rows * hidden).expect("rows for every expert");
                let [gate, up] = [&mut gates, &mut ups].map(|out| out.split_off_mut(..rows * inside).expect("as many"));
                let product = |weights, out| Product { weights, out, stride: inside };
                (x, [product(mlp.gate_proj.weights(), gate), product(mlp.up_proj.weights(), up)])
            }),
        );
        silu_mul(isa, gate.values(), up.values(), gated.values_mut());
        let (mut xs, mut downs) = (gated.values(), down.values_mut());
        matmul_each(
            isa,
            inside,
            mlps().map(|(mlp, rows)| {
                let x = xs.split_off(..rows * inside).expect("rows for every expert");
                let out = downs.split_off_mut(..rows * hidden).expect("as many");
                (x, [Product { weights: mlp.down_proj.weights(), out, stride: hidden }])
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_brought_together_by_expert_in_their_order() {
        let picks = [4, 1, 1, 2, 4, 2].map(|expert| Pick { expert, weight: 0.5 });
        let mut by_expert = ByExpert::default();
        by_expert.sort(&picks, 2, 6);
        assert_eq!(by_expert.counts, [(1, 2), (2, 2), (4, 2)]);
        assert_eq!(by_expert.rows, [0, 1, 1, 2, 0, 2]);
        assert_eq!(by_expert.places, [4, 0, 1, 2, 5, 3]);
    }
}
