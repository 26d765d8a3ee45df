//! How fast this machine reads memory: the yardstick for everything that streams weights.

use std::hint::black_box;
use std::time::Instant;

use super::Workers;
use super::kernels::read;

/// What one thread reads at a time.
const PIECE: usize = 1 << 20;

/// Reads `bytes` once on all threads and returns bytes per second. Give it much more than the caches hold.
#[must_use]
pub fn read_bandwidth(workers: &Workers, bytes: &[u8]) -> f64 {
    let started = Instant::now();
    let piece = |index| &bytes[index * PIECE..bytes.len().min((index + 1) * PIECE)];
    workers.map(bytes.len().div_ceil(PIECE), |isa, index| _ = black_box(read(isa, piece(index))));
    bytes.len() as f64 / started.elapsed().as_secs_f64()
}
