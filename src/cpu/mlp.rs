//! The `Mlp` set: `Normed` [rows, hidden] → gate and up [rows, intermediate] → silu(gate) · up → down, added to
//! `Residual` [rows, hidden].

use bevy_ecs::prelude::*;

use super::kernels::{Product, add_assign, matmul, silu_mul};
use super::{Cpu, Workers};
use crate::world::activations::{Normed, Residual, Rows};
use crate::world::layer::OnLayer;
use crate::world::mlp::Mlp;

/// What only the MLP needs, kept between steps.
#[derive(Default)]
pub struct Scratch {
    /// `[rows, intermediate_size]`
    gate: Rows,
    /// `[rows, intermediate_size]`
    up: Rows,
    /// `silu(gate) · up`, `[rows, intermediate_size]`
    gated: Rows,
    /// `[rows, hidden_size]`
    down: Rows,
}

/// Runs the layer's MLP.
pub fn run_mlp(
    workers: Res<Workers>,
    mlp: OnLayer<&Mlp<Cpu>>,
    normed: Res<Normed<Cpu>>,
    mut residual: ResMut<Residual<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let Scratch { gate, up, gated, down } = &mut *scratch;
    gate.resize(normed.0.len(), mlp.gate_proj.rows());
    up.resize(normed.0.len(), mlp.up_proj.rows());
    gated.resize(normed.0.len(), mlp.up_proj.rows());
    down.resize(normed.0.len(), mlp.down_proj.rows());
    workers.run(|isa| {
        let into = [Product::new(mlp.gate_proj.weights(), gate), Product::new(mlp.up_proj.weights(), up)];
        matmul(isa, normed.0.values(), normed.0.width(), into);
        silu_mul(isa, gate.values(), up.values(), gated.values_mut());
        matmul(isa, gated.values(), gated.width(), [Product::new(mlp.down_proj.weights(), down)]);
        add_assign(isa, residual.0.values_mut(), down.values());
    });
}
