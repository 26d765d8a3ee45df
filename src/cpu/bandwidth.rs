//! How fast this machine reads memory: the yardstick for everything that streams weights.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use super::Workers;

/// What one thread reads at a time.
const PIECE: usize = 1 << 20;

/// Reads `bytes` once on all threads and returns bytes per second. Give it much more than the caches hold.
#[must_use]
pub fn read_bandwidth(workers: &Workers, bytes: &[u8]) -> f64 {
    let started = Instant::now();
    workers.run(|_| {
        bytes.par_chunks(PIECE).for_each(|piece| {
            black_box(fold(piece));
        });
    });
    bytes.len() as f64 / started.elapsed().as_secs_f64()
}

/// Touches every byte as cheaply as the compiler knows.
fn fold(bytes: &[u8]) -> [u8; 64] {
    let mut sum = [0; 64];
    for line in bytes.as_chunks::<64>().0 {
        for (sum, byte) in sum.iter_mut().zip(line) {
            *sum ^= byte;
        }
    }
    sum
}
