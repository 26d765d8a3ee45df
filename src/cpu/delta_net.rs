//! The `Mixer` set on linear-attention layers: `Normed` [rows, hidden] → queries, keys and values through the causal
//! convolution → the delta rule against each sequence's state → gated norm → added to `Residual` [rows, hidden].

use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::cache::delta_shape;
use super::kernels::{
    DELTA_CHUNK, DeltaChunk, DeltaInputs, DeltaMemory, Isa, Product, add_assign, causal_conv, delta_rule, gated_norm,
    matmul,
};
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Normed, Residual, Rows};
use crate::world::batch::Batch;
use crate::world::cache::{Caches, DeltaState};
use crate::world::delta_net::DeltaNet;
use crate::world::layer::{LayerIndex, OnLayer};
use crate::world::model::OnModel;

/// What only this mixer needs, kept between steps.
#[derive(Default)]
pub struct Scratch {
    /// Before the convolution, `[rows, channels]`.
    qkv: Rows,
    /// After it.
    mixed: Rows,
    /// The output gate, `[rows, value_dim]`.
    z: Rows,
    /// How much is written, `[rows, num_value_heads]`.
    b: Rows,
    /// How fast the state decays, `[rows, num_value_heads]`.
    a: Rows,
    /// What the state answers, `[rows, value_dim]`.
    read: Rows,
    /// `[rows, hidden_size]`
    out: Rows,
}

/// Mixes tokens through each sequence's [`DeltaState`].
pub fn mix_with_delta_net(
    workers: Res<Workers>,
    config: OnModel<&ModelConfig>,
    layer: OnLayer<(&LayerIndex, &DeltaNet<Cpu>)>,
    batch: Res<Batch>,
    normed: Res<Normed<Cpu>>,
    mut residual: ResMut<Residual<Cpu>>,
    sequences: Query<&Caches>,
    mut states: Query<&mut DeltaState<Cpu>>,
    mut scratch: Local<Scratch>,
) {
    let (index, net) = *layer;
    let scratch = &mut *scratch;
    workers.run(|isa| scratch.project(isa, net, &normed.0));
    for span in &batch.spans {
        let cache = sequences.get(span.sequence).ok().and_then(|caches| caches.of_layer(index.0));
        // A sequence despawned in the middle of a step leaves its rows behind; nobody will read them.
        let Some(mut state) = cache.and_then(|cache| states.get_mut(cache).ok()) else { continue };
        workers.run(|isa| scratch.recall(isa, net, &config, span.rows.clone(), &mut state));
    }
    let Scratch { read, z, out, .. } = scratch;
    workers.run(|isa| {
        gated_norm(isa, read.values_mut(), z.values(), &net.norm, config.rms_norm_eps);
        matmul(isa, read.values(), read.width(), [Product::new(net.out_proj.weights(), out)]);
        add_assign(isa, residual.0.values_mut(), out.values());
    });
}

impl Scratch {
    fn project(&mut self, isa: Isa, net: &DeltaNet<Cpu>, normed: &Rows) {
        let rows = normed.len();
        let Self { qkv, mixed, z, b, a, read, out } = self;
        qkv.resize(rows, net.in_proj_qkv.rows());
        mixed.resize(rows, net.in_proj_qkv.rows());
        z.resize(rows, net.in_proj_z.rows());
        b.resize(rows, net.in_proj_b.rows());
        a.resize(rows, net.in_proj_a.rows());
        read.resize(rows, net.in_proj_z.rows());
        out.resize(rows, net.out_proj.rows());
        let products = [
            Product::new(net.in_proj_qkv.weights(), qkv),
            Product::new(net.in_proj_z.weights(), z),
            Product::new(net.in_proj_b.weights(), b),
            Product::new(net.in_proj_a.weights(), a),
        ];
        matmul(isa, normed.values(), normed.width(), products);
    }

    /// The part that runs along one sequence, row after row.
    fn recall(
        &mut self,
        isa: Isa,
        net: &DeltaNet<Cpu>,
        config: &ModelConfig,
        rows: std::ops::Range<usize>,
        state: &mut DeltaState<Cpu>,
    ) {
        let (channels, shape, since) = (self.qkv.width(), delta_shape(&config.delta_net), state.since());
        let inputs = Arc::make_mut(&mut state.inputs);
        let mixed = self.mixed.slice_mut(rows.clone());
        causal_conv(isa, channels, &net.conv1d, since, inputs, self.qkv.slice(rows.clone()), mixed);
        let inputs = DeltaInputs {
            qkv: self.mixed.slice(rows.clone()),
            a: self.a.slice(rows.clone()),
            b: self.b.slice(rows.clone()),
            decay_rate: &net.a_log,
            dt_bias: &net.dt_bias,
        };
        let memory = DeltaMemory {
            since,
            rows: &mut Arc::make_mut(&mut state.rows)[..],
            state: if since + rows.len() < DELTA_CHUNK {
                DeltaChunk::Kept(&state.state)
            } else {
                DeltaChunk::Advanced(&mut Arc::make_mut(&mut state.state)[..])
            },
        };
        delta_rule(isa, shape, &inputs, memory, self.read.slice_mut(rows.clone()));
        state.advance(rows.len());
    }
}
