//! Weights to four bits and back: a million of them, as many as a small projection has.

mod support;

use bytemuck::Zeroable;
use criterion::{BenchmarkId, Throughput};
use half::bf16;
use loquent::quant::{BLOCK_LEN, Block, Encoding, Search, dequantize, quantize_into};
use support::random::noise;

const WEIGHTS: usize = 1 << 20;

fn main() {
    let mut criterion = support::criterion();
    let mut group = criterion.benchmark_group("quant");
    group.throughput(Throughput::Elements(WEIGHTS as u64));
    let weights: Vec<bf16> = noise(WEIGHTS).into_iter().map(bf16::from_f32).collect();
    let mut blocks = vec![Block::zeroed(); WEIGHTS / BLOCK_LEN];
    for (search, search_name) in [(Search::MinMax, "min_max"), (Search::LeastSquares, "least_squares")] {
        for (encoding, encoding_name) in [(Encoding::Asymmetric, "asymmetric"), (Encoding::Symmetric, "symmetric")] {
            group.bench_function(BenchmarkId::new(search_name, encoding_name), |bencher| {
                bencher.iter(|| quantize_into(&weights, encoding, search, &mut blocks).expect("finite weights"));
            });
        }
    }
    let mut back = vec![0.0; WEIGHTS];
    group.bench_function("dequantize", |bencher| bencher.iter(|| dequantize(&blocks, 0, &mut back)));
    group.finish();
}
