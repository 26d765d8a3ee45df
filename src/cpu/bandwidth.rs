//! How fast this machine reads memory: the yardstick for everything that streams weights.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use super::Workers;
use super::kernels::read;

/// What one thread reads at a time.
const PIECE: usize = 1 << 20;

/// Reads `bytes` once on all threads and returns bytes per second. Give it much more than the caches hold.
#[must_use]
pub fn read_bandwidth(workers: &Workers, bytes: &[u8]) -> f64 {
    let started = Instant::now();
    workers.run(|isa| bytes.par_chunks(PIECE).for_each(|piece| _ = black_box(read(isa, piece))));
    bytes.len() as f64 / started.elapsed().as_secs_f64()
}
