//! The `Mixer` set on full-attention layers: `Normed` [rows, hidden] → queries with their gates if they have any, keys and
//! values → q/k norm where there is one, and rotary positions → attention over each sequence's cache → gate → added to
//! `Residual` [rows, hidden].

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::kernels::{
    self, AttendShape, CacheType, Isa, Product, add_assign, attend, matmul, rms_norm, rms_norm_in_place, rope,
    sigmoid_gate,
};
use super::rope::RopeAngles;
use super::{Cpu, Workers};
use crate::checkpoint::{AttentionConfig, ModelConfig};
use crate::world::activations::{Normed, Residual, Rows};
use crate::world::attention::Attention;
use crate::world::batch::{Batch, Span};
use crate::world::cache::{Caches, KvCache};
use crate::world::layer::{LayerIndex, OnLayer};
use crate::world::model::OnModel;

/// What only this mixer needs, kept between steps.
#[derive(Default)]
pub struct Scratch {
    /// Query and gate of each head, `[rows, num_heads, 2, head_dim]`; empty where there are no gates.
    q_and_gate: Rows,
    /// `[rows, num_heads, head_dim]`
    q: Rows,
    /// `[rows, num_kv_heads, head_dim]`
    k: Rows,
    /// `[rows, num_kv_heads, head_dim]`
    v: Rows,
    /// `[rows, num_heads, head_dim]`
    read: Rows,
    /// `[rows, hidden_size]`
    out: Rows,
}

/// Mixes tokens by attending over each sequence's [`KvCache`].
pub fn mix_with_attention(
    workers: Res<Workers>,
    model: OnModel<(&ModelConfig, &CacheType)>,
    layer: OnLayer<(&LayerIndex, &Attention<Cpu>)>,
    batch: Res<Batch>,
    angles: Res<RopeAngles>,
    normed: Res<Normed<Cpu>>,
    mut residual: ResMut<Residual<Cpu>>,
    sequences: Query<&Caches, Allow<Disabled>>,
    mut caches: Query<&mut KvCache<Cpu>, Allow<Disabled>>,
    mut scratch: Local<Scratch>,
) {
    let ((config, &cache_type), (index, weights)) = (*model, *layer);
    let (scratch, attention) = (&mut *scratch, &config.attention);
    workers.run(|isa| {
        scratch.project(isa, weights, attention, &normed.0);
        scratch.rotate(isa, weights, attention, config.rms_norm_eps, &angles.0);
    });
    for span in &batch.spans {
        let cache = sequences.get(span.sequence).ok().and_then(|caches| caches.of_layer(index.0));
        // A sequence despawned in the middle of a step leaves its rows behind; nobody will read them.
        let Some(mut cache) = cache.and_then(|cache| caches.get_mut(cache).ok()) else { continue };
        scratch.append(span, cache_type, attention, &mut cache);
        workers.run(|isa| scratch.attend(isa, span, attention, &cache));
    }
    let Scratch { read, q_and_gate, out, .. } = scratch;
    workers.run(|isa| {
        if attention.output_gate {
            let gates = q_and_gate.values().get(attention.head_dim..).unwrap_or_default();
            sigmoid_gate(isa, read.values_mut(), attention.head_dim, gates, 2 * attention.head_dim);
        }
        matmul(isa, read.values(), read.width(), [Product::new(weights.o_proj.weights(), out)]);
        add_assign(isa, residual.0.values_mut(), out.values());
    });
}

impl Scratch {
    fn project(&mut self, isa: Isa, weights: &Attention<Cpu>, attention: &AttentionConfig, normed: &Rows) {
        let rows = normed.len();
        let Self { q_and_gate, q, k, v, read, out } = self;
        q.resize(rows, weights.o_proj.cols());
        k.resize(rows, weights.k_proj.rows());
        v.resize(rows, weights.v_proj.rows());
        read.resize(rows, weights.o_proj.cols());
        out.resize(rows, weights.o_proj.rows());
        let queries = if attention.output_gate {
            q_and_gate.resize(rows, weights.q_proj.rows());
            q_and_gate
        } else {
            q
        };
        let products = [
            Product::new(weights.q_proj.weights(), queries),
            Product::new(weights.k_proj.weights(), k),
            Product::new(weights.v_proj.weights(), v),
        ];
        matmul(isa, normed.values(), normed.width(), products);
    }

    /// Normalises queries and keys, if they are to be, and rotates them to their positions.
    fn rotate(
        &mut self,
        isa: Isa,
        weights: &Attention<Cpu>,
        attention: &AttentionConfig,
        eps: f32,
        angles: &kernels::RopeAngles,
    ) {
        let AttentionConfig { num_heads, num_kv_heads, head_dim, .. } = *attention;
        match (&weights.qk_norm, attention.output_gate) {
            (Some(norm), true) => {
                rms_norm(isa, self.q_and_gate.values(), 2 * head_dim, &norm.q_norm, eps, self.q.values_mut());
            }
            (Some(norm), false) => rms_norm_in_place(isa, self.q.values_mut(), &norm.q_norm, eps),
            (None, true) => {
                let queries = self.q_and_gate.values().chunks_exact(2 * head_dim);
                let to = self.q.values_mut().chunks_exact_mut(head_dim);
                to.zip(queries).for_each(|(to, query)| to.copy_from_slice(&query[..head_dim]));
            }
            (None, false) => {}
        }
        if let Some(norm) = &weights.qk_norm {
            rms_norm_in_place(isa, self.k.values_mut(), &norm.k_norm, eps);
        }
        rope(isa, self.q.values_mut(), num_heads, head_dim, angles);
        rope(isa, self.k.values_mut(), num_kv_heads, head_dim, angles);
    }

    /// Appends the span's keys and values to its sequence's cache. Its own rows will read them from there, too, so that a
    /// chunk's bits are those of its rows one by one.
    fn append(&self, span: &Span, cache_type: CacheType, attention: &AttentionConfig, cache: &mut KvCache<Cpu>) {
        cache.append(cache_type, attention, self.k.slice(span.rows.clone()), self.v.slice(span.rows.clone()));
    }

    /// Reads the cache, up to each row's own position.
    fn attend(&mut self, isa: Isa, span: &Span, attention: &AttentionConfig, cache: &KvCache<Cpu>) {
        let shape =
            AttendShape { heads: attention.num_heads, kv_heads: attention.num_kv_heads, head_dim: attention.head_dim };
        let first = cache.positions() - span.rows.len();
        let read = self.read.slice_mut(span.rows.clone());
        attend(isa, shape, self.q.slice(span.rows.clone()), cache.blocks(), first, read);
    }
}
