//! The `Mixer` set on linear-attention layers: `Normed` [rows, hidden] → queries, keys and values through the causal
//! convolution → the delta rule against each sequence's state → gated norm → added to `Residual` [rows, hidden].

use std::ops::Range;
use std::sync::Arc;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::cache::delta_shape;
use super::kernels::{
    DELTA_CHUNK, DeltaChunk, DeltaInputs, DeltaMemory, Isa, Product, add_assign, causal_conv, delta_rule, gated_norm,
    matmul,
};
use super::{Cpu, Workers};
use crate::checkpoint::{DeltaNetConfig, ModelConfig};
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
    sequences: Query<&Caches, Allow<Disabled>>,
    mut states: Query<&mut DeltaState<Cpu>, Allow<Disabled>>,
    mut scratch: Local<Scratch>,
) {
    let (index, net) = *layer;
    let scratch = &mut *scratch;
    workers.run(|isa| scratch.project(isa, net, &normed.0));
    for span in &batch.spans {
        let cache = sequences.get(span.sequence).ok().and_then(|caches| caches.of_layer(index.0));
        // A sequence despawned in the middle of a step leaves its rows behind; nobody will read them.
        let Some(mut state) = cache.and_then(|cache| states.get_mut(cache).ok()) else { continue };
        workers.run(|isa| scratch.recall(isa, net, config.linear_attention(), span.rows.clone(), &mut state));
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
        config: &DeltaNetConfig,
        rows: Range<usize>,
        state: &mut DeltaState<Cpu>,
    ) {
        let (channels, shape, since) = (self.qkv.width(), delta_shape(config), state.since());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Matrix;
    use crate::cpu::cache::delta_parts;
    use crate::cpu::kernels::{Arena, PackedFormat};

    const CONFIG: DeltaNetConfig = DeltaNetConfig {
        num_key_heads: 1,
        num_value_heads: 2,
        key_head_dim: 8,
        value_head_dim: 20,
        conv_kernel: 4,
        tiled_value_heads: false,
    };

    fn noise(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i + seed) * (i + 7 * seed) % 101) as f32 / 50.0 - 1.0).collect()
    }

    /// What only projects is left empty.
    fn net() -> DeltaNet<Cpu> {
        let panels = || Arena::new([0]).unwrap().take(0);
        let matrix = || Matrix::Packed { panels: panels(), format: PackedFormat::Q4, rows: 0, cols: 0 };
        DeltaNet {
            in_proj_qkv: matrix(),
            in_proj_z: matrix(),
            in_proj_b: matrix(),
            in_proj_a: matrix(),
            conv1d: noise(1, CONFIG.conv_kernel * CONFIG.channels()).into(),
            a_log: [-1.0, -0.1].into(),
            dt_bias: [0.5, -0.5].into(),
            norm: [].into(),
            out_proj: matrix(),
        }
    }

    fn new_state() -> DeltaState<Cpu> {
        DeltaState::new(delta_parts(&CONFIG).map(|len| Arc::new(vec![0.0; len].into())))
    }

    /// What is read when rows of `seed` come in.
    fn read(state: &mut DeltaState<Cpu>, seed: usize, rows: usize) -> Vec<f32> {
        let mut scratch = Scratch::default();
        let Scratch { qkv, mixed, a, b, read, .. } = &mut scratch;
        for (i, (part, width)) in
            [(qkv, CONFIG.channels()), (a, CONFIG.num_value_heads), (b, CONFIG.num_value_heads)].into_iter().enumerate()
        {
            part.resize(rows, width);
            part.values_mut().copy_from_slice(&noise(seed + i, rows * width));
        }
        mixed.resize(rows, CONFIG.channels());
        read.resize(rows, CONFIG.value_dim());
        scratch.recall(Isa::widest(), &net(), &CONFIG, 0..rows, state);
        scratch.read.values().to_vec()
    }

    #[test]
    fn a_fork_leaves_the_original_as_it_was_and_shares_what_is_not_written() {
        let (mut alone, mut original) = (new_state(), new_state());
        read(&mut alone, 3, 25);
        read(&mut original, 3, 25);
        let mut fork = original.clone();
        let shared = |a: &DeltaState<Cpu>, b: &DeltaState<Cpu>| {
            [(&a.state, &b.state), (&a.rows, &b.rows), (&a.inputs, &b.inputs)].map(|(a, b)| Arc::ptr_eq(a, b))
        };
        assert_eq!(shared(&original, &fork), [true; 3]);
        read(&mut fork, 4, 6);
        assert_eq!(shared(&original, &fork), [true, false, false]);
        read(&mut fork, 5, 20);
        assert_eq!(shared(&original, &fork), [false; 3]);
        assert_eq!(read(&mut original, 6, 30), read(&mut alone, 6, 30));
    }

    #[test]
    fn rows_taken_back_are_as_if_they_had_never_been_read() {
        for kept in 16..31 {
            let (mut never, mut taken_back) = (new_state(), new_state());
            read(&mut never, 3, kept);
            read(&mut taken_back, 3, kept);
            read(&mut taken_back, 4, 31 - kept);
            taken_back.truncate(kept).unwrap();
            assert_eq!(read(&mut taken_back, 5, 40), read(&mut never, 5, 40), "{kept} rows");
        }
    }
}
