//! The product with a projection of the feed-forward half, for each storage type of its weights. They stay in the
//! last-level cache: this measures the kernel, and `loquent bench` the memory.

use criterion::Throughput;
use half::{bf16, f16};
use loquent::cpu::Isa;
use loquent::cpu::kernels::{Arena, PackedFormat, Panels, Product, WeightSlice, Weights, matmul, pack};
use loquent::quant::ggml::{BlockQ4_0, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0};
use loquent::quant::{Blocks, Encoding, Search, quantize};
use loquent::world::activations::Rows;

use super::support::random::noise;
use super::{HIDDEN, INTERMEDIATE, Kernels, ROWS};

const WEIGHTS: usize = INTERMEDIATE * HIDDEN;

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    let exact = noise(WEIGHTS);
    let brains: Vec<bf16> = exact.iter().copied().map(bf16::from_f32).collect();
    bench_one(kernels, "matmul_bf16", Weights::Stored(WeightSlice::Bf16(&brains)));
    if let Some(isa) = Isa::with_bf16() {
        let usual = std::mem::replace(&mut kernels.isa, isa);
        bench_one(kernels, "matmul_bf16_products", Weights::Brain(&brains));
        kernels.isa = usual;
    }

    let q4 = quantize(&exact, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
    let d = f16::from_f32(0.01);
    let q4_0 = many(32, |seed| BlockQ4_0 { d, qs: bytes(seed) });
    let q8_0 = many(32, |seed| BlockQ8_0 { d, qs: bytes(seed).map(|byte: u8| byte as i8) });
    let q4_k = many(256, |seed| BlockQ4K { d, dmin: d, scales: bytes(seed), qs: bytes(seed) });
    let q5_k = many(256, |seed| BlockQ5K { d, dmin: d, scales: bytes(seed), qh: bytes(seed), qs: bytes(seed) });
    let q6_k = many(256, |seed| BlockQ6K {
        ql: bytes(seed),
        qh: bytes(seed),
        scales: bytes(seed).map(|byte: u8| byte as i8),
        d,
    });
    for (name, packing, blocks) in [
        ("matmul_q4", "pack", Blocks::Q4(&q4)),
        ("matmul_q4_0", "pack_q4_0", Blocks::Q4_0(&q4_0)),
        ("matmul_q8_0", "pack_q8_0", Blocks::Q8_0(&q8_0)),
        ("matmul_q4_k", "pack_q4_k", Blocks::Q4K(&q4_k)),
        ("matmul_q5_k", "pack_q5_k", Blocks::Q5K(&q5_k)),
        ("matmul_q6_k", "pack_q6_k", Blocks::Q6K(&q6_k)),
    ] {
        let format = PackedFormat::of(&blocks);
        let size = format.bytes(INTERMEDIATE, HIDDEN).expect("whole blocks");
        let mut panels = Arena::new([size]).expect("memory").take(size);
        kernels.bench(packing, INTERMEDIATE, Throughput::Bytes(size as u64), |_| pack(blocks, HIDDEN, &mut panels));
        pack(blocks, HIDDEN, &mut panels);
        bench_one(kernels, name, Weights::Packed(Panels::new(&panels, format, INTERMEDIATE, HIDDEN)));
    }
}

fn bench_one(kernels: &mut Kernels<'_>, name: &str, weights: Weights<'_>) {
    for rows in ROWS {
        let x = noise(rows * HIDDEN);
        let mut out = Rows::default();
        out.resize(rows, INTERMEDIATE);
        // One row has to wait for the weights; many have to multiply.
        let throughput = match rows {
            1 => Throughput::Bytes(weights.size() as u64),
            _ => Throughput::Elements((rows * weights.len()) as u64),
        };
        kernels.bench(name, rows, throughput, |isa| {
            matmul(isa, &x, HIDDEN, [Product::new(weights, &mut out)]);
        });
    }
}

/// Blocks for all weights.
fn many<B>(block_len: usize, block: impl FnMut(usize) -> B) -> Vec<B> {
    (0..WEIGHTS / block_len).map(block).collect()
}

/// Bytes that are not all alike: what they are changes nothing about the time they take.
fn bytes<const N: usize>(seed: usize) -> [u8; N] {
    std::array::from_fn(|index| ((seed * 167 + index * 59) % 251) as u8)
}
