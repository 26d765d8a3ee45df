//! Each kernel by itself, at the shapes of Qwen3.5-0.8B, for the row of one token and for the 64 of a prompt.

mod attend;
mod delta_net;
mod elementwise;
mod matmul;
#[path = "../support/mod.rs"]
mod support;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use loquent::cpu::Isa;

/// Width of the residual stream.
const HIDDEN: usize = 1024;
/// Width inside the feed-forward half.
const INTERMEDIATE: usize = 3584;
/// What is added to every mean square.
const EPS: f32 = 1e-6;
/// Rows in a call: a token's, and some of a prompt.
const ROWS: [usize; 2] = [1, 64];

/// The group's benchmarks, named `kernels/<kernel>/<rows>`.
struct Kernels<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    isa: Isa,
}

impl Kernels<'_> {
    fn bench(&mut self, kernel: &str, size: impl std::fmt::Display, throughput: Throughput, mut run: impl FnMut(Isa)) {
        let isa = self.isa;
        self.group.throughput(throughput);
        self.group.bench_function(BenchmarkId::new(kernel, size), |bencher| bencher.iter(|| run(isa)));
    }
}

fn main() {
    // Outside of a pool, kernels stay on this thread: how work is shared is measured with whole steps, where neighbours on
    // the machine disturb more.
    let mut criterion = support::criterion();
    let mut kernels = Kernels { group: criterion.benchmark_group("kernels"), isa: Isa::widest() };
    matmul::bench(&mut kernels);
    attend::bench(&mut kernels);
    delta_net::bench(&mut kernels);
    elementwise::bench(&mut kernels);
    kernels.group.finish();
}
