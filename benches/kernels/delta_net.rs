//! The gated delta net: 16 heads of 128 elements, and a convolution of 4 taps.

use criterion::Throughput;
use loquent::cpu::kernels::{
    DELTA_CHUNK, DeltaChunk, DeltaInputs, DeltaMemory, DeltaShape, causal_conv, conv_rows, delta_rule, gated_norm,
};

use super::support::random::noise;
use super::{EPS, Kernels, ROWS};

const SHAPE: DeltaShape =
    DeltaShape { key_heads: 16, value_heads: 16, key_head_dim: 128, value_head_dim: 128, tiled: false };
const TAPS: usize = 4;

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    let channels = SHAPE.qkv_dim();
    for rows in ROWS {
        let qkv = noise(rows * channels);
        let mut mixed = vec![0.0; rows * channels];
        let (weights, mut inputs) = (noise(TAPS * channels), noise(conv_rows(TAPS) * channels));
        let mut since = 0;
        kernels.bench("causal_conv", rows, Throughput::Elements(qkv.len() as u64), |isa| {
            causal_conv(isa, channels, &weights, since, &mut inputs, &qkv, &mut mixed);
            since = (since + rows) % DELTA_CHUNK;
        });

        let scalars = noise(rows * SHAPE.value_heads);
        let per_head = vec![-1.0; SHAPE.value_heads];
        let inputs = DeltaInputs { qkv: &qkv, a: &scalars, b: &scalars, decay_rate: &per_head, dt_bias: &per_head };
        let (mut state, mut remembered) = (noise(SHAPE.state_len()), noise(SHAPE.rows_len()));
        let (mut out, mut since) = (vec![0.0; rows * SHAPE.value_dim()], 0);
        let throughput = Throughput::Elements((rows * state.len()) as u64);
        // A single row is the mean of those at all places of a chunk.
        kernels.bench("delta_rule", rows, throughput, |isa| {
            let state = match since + rows {
                ..DELTA_CHUNK => DeltaChunk::Kept(&state),
                _ => DeltaChunk::Advanced(&mut state),
            };
            delta_rule(isa, SHAPE, &inputs, DeltaMemory { since, rows: &mut remembered, state }, &mut out);
            since = (since + rows) % DELTA_CHUNK;
        });

        // The same factor for all, or all but the largest elements would fade into subnormal numbers.
        let (gates, weight) = (vec![1.0; out.len()], vec![1.0; SHAPE.value_head_dim]);
        kernels.bench("gated_norm", rows, Throughput::Elements(out.len() as u64), |isa| {
            gated_norm(isa, &mut out, &gates, &weight, EPS);
        });
    }
}
