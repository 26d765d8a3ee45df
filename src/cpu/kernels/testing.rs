//! What the kernels' tests share.

use super::pool::Pool;

/// Reproducible numbers in -1..1, roughly bell-shaped.
pub(super) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| (next() + next() + next()) / 1.5 - 1.0).collect()
}

/// Every element lies within `bound` of the exact one, relative to it or to 1, whichever is more.
#[track_caller]
pub(super) fn assert_close(got: &[f32], exact: &[f64], bound: f64) {
    assert_eq!(got.len(), exact.len());
    for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
        let error = (f64::from(got) - exact).abs() / exact.abs().max(1.0);
        assert!(error <= bound, "element {i}: {got} for {exact}, off by {error:e}");
    }
}

/// Every element has the same bits.
#[track_caller]
pub(super) fn assert_same_bits(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "element {i}: {a:e} and {b:e}");
    }
}

/// Runs `work` on a pool of its own.
pub(super) fn on_threads<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    Pool::new(threads).expect("threads").run(work)
}
