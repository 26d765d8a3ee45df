//! The products of queries with the keys of a block.

use super::call::{BLOCK, Scores};
use crate::cpu::kernels::simd::{LANES, Simd};

/// Multiplies `R` queries `[head_dim]` with keys `[head_dim, positions]`, `N` vectors of positions at a time: as many as stay
/// in registers. Elements in even places are summed apart from those in odd ones, in their order: twice as many sums grow at
/// once, and each has half as many roundings.
#[inline(always)]
pub(super) fn products<S: Simd, const R: usize, const N: usize>(
    simd: S,
    queries: [&[f32]; R],
    keys: &[f32],
    ahead: &[u8],
    scores: &mut [Scores],
) {
    let (pairs, last) = keys.as_chunks::<{ 2 * BLOCK }>();
    // Cut to one length, so that one comparison in the loop stands for all bounds.
    let paired = queries.map(|query| &query.as_chunks::<2>().0[..pairs.len()]);
    let parts = BLOCK / (N * LANES);
    let step = ahead.len() / (parts * pairs.len().max(1));
    for part in 0..parts {
        let columns = part * N * LANES..(part + 1) * N * LANES;
        let mut sums = [[[simd.splat(0.0); N]; R]; 2];
        for (pair, keys) in pairs.iter().enumerate() {
            prefetch(simd, ahead, (part * pairs.len() + pair) * step, step);
            for (place, sums) in sums.iter_mut().enumerate() {
                let keys = &keys[place * BLOCK..][columns.clone()];
                add(simd, paired.map(|query| query[pair][place]), keys, sums);
            }
        }
        if !last.is_empty() {
            add(simd, queries.map(|query| query[2 * pairs.len()]), &last[columns.clone()], &mut sums[0]);
        }
        let [even, odd] = sums;
        for ((scores, even), odd) in scores.iter_mut().zip(even).zip(odd) {
            for ((to, even), odd) in scores[columns.clone()].as_chunks_mut().0.iter_mut().zip(even).zip(odd) {
                simd.store(simd.add(even, odd), to);
            }
        }
    }
}

/// Adds the products of one element of each query with that of each key.
#[inline(always)]
fn add<S: Simd, const R: usize, const N: usize>(simd: S, queries: [f32; R], keys: &[f32], sums: &mut [[S::V; N]; R]) {
    let mut vectors = [simd.splat(0.0); N];
    for (vector, keys) in vectors.iter_mut().zip(keys.as_chunks().0) {
        *vector = simd.load(keys);
    }
    for (sums, query) in sums.iter_mut().zip(queries) {
        let query = simd.splat(query);
        for (sum, keys) in sums.iter_mut().zip(vectors) {
            *sum = simd.fma(query, keys, *sum);
        }
    }
}

/// Asks for `count` bytes from `start` of `bytes` on.
#[inline(always)]
pub(super) fn prefetch<S: Simd>(simd: S, bytes: &[u8], start: usize, count: usize) {
    const CACHE_LINE: usize = 64;
    for byte in (start..start + count).step_by(CACHE_LINE) {
        simd.prefetch(bytes.as_ptr().wrapping_add(byte));
    }
}
