//! The product with a projection of the feed-forward half, for each storage type of its weights. They stay in the
//! last-level cache: this measures the kernel, and `loquent bench` the memory.

use criterion::Throughput;
use half::bf16;
use loquent::cpu::kernels::{Arena, PANEL_ROWS, Panels, Product, WeightSlice, Weights, matmul, pack};
use loquent::quant::{BLOCK_LEN, Encoding, Search, quantize};
use loquent::world::activations::Rows;

use super::support::random::noise;
use super::{HIDDEN, INTERMEDIATE, Kernels, ROWS};

pub(super) fn bench(kernels: &mut Kernels<'_>) {
    let exact = noise(INTERMEDIATE * HIDDEN);
    let brains: Vec<bf16> = exact.iter().copied().map(bf16::from_f32).collect();
    let in_row = HIDDEN / BLOCK_LEN;
    let blocks = quantize(&exact, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
    let mut panels = Arena::new(Panels::count(INTERMEDIATE, HIDDEN)).expect("memory").take(blocks.len() / PANEL_ROWS);
    kernels.bench("pack", INTERMEDIATE, Throughput::Bytes(size_of_val(&*blocks) as u64), |_| {
        pack(&blocks, in_row, &mut panels);
    });
    pack(&blocks, in_row, &mut panels);
    let storages = [
        ("matmul_bf16", Weights::Stored(WeightSlice::Bf16(&brains))),
        ("matmul_q4", Weights::Packed(Panels::new(&panels, INTERMEDIATE, HIDDEN))),
    ];
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
