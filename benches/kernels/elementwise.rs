//! What passes over the residual stream and the feed-forward half.

use criterion::Throughput;
use half::bf16;
use loquent::cpu::kernels::{WeightSlice, Weights, add_assign, embed, rms_norm, silu_mul};

use super::support::random::noise;
use super::{EPS, HIDDEN, INTERMEDIATE, Kernels, ROWS};

/// Rows of the embedding: enough that they do not stay in the second-level cache.
const VOCABULARY: usize = 16_384;

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    let matrix: Vec<bf16> = noise(VOCABULARY * HIDDEN).into_iter().map(bf16::from_f32).collect();
    let stored = Weights::Stored(WeightSlice::Bf16(&matrix));
    for rows in ROWS {
        let narrow = Throughput::Elements((rows * HIDDEN) as u64);
        let (x, mut out) = (noise(rows * HIDDEN), vec![0.0; rows * HIDDEN]);

        let tokens: Vec<u32> = (0..rows).map(|index| (index * 7919 % VOCABULARY) as u32).collect();
        kernels.bench("embed", rows, narrow.clone(), |_| embed(stored, HIDDEN, &tokens, &mut out));

        let scale = noise(HIDDEN);
        kernels.bench("rms_norm", rows, narrow.clone(), |isa| rms_norm(isa, &x, HIDDEN, &scale, EPS, &mut out));
        kernels.bench("add_assign", rows, narrow, |isa| add_assign(isa, &mut out, &x));

        let (gate, up, mut out) =
            (noise(rows * INTERMEDIATE), noise(rows * INTERMEDIATE), vec![0.0; rows * INTERMEDIATE]);
        let wide = Throughput::Elements(out.len() as u64);
        kernels.bench("silu_mul", rows, wide, |isa| silu_mul(isa, &gate, &up, &mut out));
    }
}
