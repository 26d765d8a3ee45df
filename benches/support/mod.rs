//! What the groups of benchmarks share.
#![allow(dead_code, reason = "each group uses its own part")]

pub(crate) mod random;

use std::time::Duration;

use criterion::Criterion;

/// How long each benchmark is measured, unless the command line says otherwise: all of them take some two minutes.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args()
}
