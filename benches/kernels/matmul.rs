//! The product with a projection of the feed-forward half, for each storage type of its weights. They stay in the
//! last-level cache: this measures the kernel, and `loquent bench` the memory.

use criterion::Throughput;
use half::bf16;
use loquent::cpu::kernels::{Product, WeightSlice, matmul};
use loquent::world::activations::Rows;

use super::support::random::noise;
use super::{HIDDEN, INTERMEDIATE, Kernels, ROWS};

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    let exact = noise(INTERMEDIATE * HIDDEN);
    let brains: Vec<bf16> = exact.iter().copied().map(bf16::from_f32).collect();
    // A further storage type is a further line.
    let storages = [("matmul_bf16", WeightSlice::Bf16(&brains))];
    for (name, weights) in storages {
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
}
