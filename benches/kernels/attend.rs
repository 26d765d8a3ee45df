//! Attention over a cache: 8 query heads of 256 elements to 2 key and value heads.

use std::sync::Arc;

use criterion::Throughput;
use loquent::checkpoint::RopeConfig;
use loquent::cpu::kernels::{
    AttendShape, CacheType, KV_BLOCK, KvBlock, RopeTable, attend, rms_norm_in_place, rope, sigmoid_gate,
};

use super::support::random::noise;
use super::{EPS, Kernels, ROWS};

const SHAPE: AttendShape = AttendShape { heads: 8, kv_heads: 2, head_dim: 256 };
const WIDTH: usize = SHAPE.heads * SHAPE.head_dim;
/// The leading elements of a head that are rotated.
const ROTARY_DIM: usize = 64;
/// Positions that the last row sees.
const CONTEXTS: [usize; 2] = [64, 4096];

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    for (cache_type, context) in
        [CacheType::F16, CacheType::F32].into_iter().flat_map(|kept| CONTEXTS.map(|context| (kept, context)))
    {
        let cache = cache(cache_type, context);
        for rows in ROWS {
            let (queries, mut out) = (noise(rows * WIDTH), vec![0.0; rows * WIDTH]);
            let throughput = Throughput::Elements((rows * context) as u64);
            kernels.bench("attend", format!("{rows}_at_{context}_{}", cache_type.name()), throughput, |isa| {
                attend(isa, SHAPE, &queries, &cache, context - rows, &mut out);
            });
        }
    }
    for rows in ROWS {
        let throughput = Throughput::Elements((rows * WIDTH) as u64);
        let mut x = noise(rows * WIDTH);
        let positions: Vec<u32> = (0..rows as u32).collect();
        let angles =
            RopeTable::new(RopeConfig::unscaled(ROTARY_DIM, 1e7).frequencies().inverse, 1.0).angles(&positions);
        kernels.bench("rope", rows, throughput.clone(), |isa| rope(isa, &mut x, SHAPE.heads, SHAPE.head_dim, &angles));

        let scale = vec![1.0; SHAPE.head_dim];
        kernels.bench("rms_norm_in_place", rows, throughput.clone(), |isa| {
            rms_norm_in_place(isa, &mut x, &scale, EPS);
        });

        // Queries and gates in turn. Gates wide open, or `x` would fade into subnormal numbers.
        let gates = vec![30.0; 2 * rows * WIDTH];
        kernels.bench("sigmoid_gate", rows, throughput, |isa| {
            sigmoid_gate(isa, &mut x, SHAPE.head_dim, &gates[SHAPE.head_dim..], 2 * SHAPE.head_dim);
        });
    }
}

fn cache(cache_type: CacheType, positions: usize) -> Vec<Arc<KvBlock>> {
    let numbers = noise(SHAPE.kv_heads * SHAPE.head_dim);
    let block = || {
        let mut block = KvBlock::new(cache_type, SHAPE.kv_heads, SHAPE.head_dim);
        (0..KV_BLOCK).for_each(|place| block.write(place, &numbers, &numbers));
        Arc::new(block)
    };
    std::iter::repeat_with(block).take(positions.div_ceil(KV_BLOCK)).collect()
}
