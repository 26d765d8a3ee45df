//! Ctrl-C, and the signal that ends processes: the first asks to end at the next opportunity, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on they only set a flag.
pub(super) fn watch() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Relaxed) {
            std::process::exit(i32::from(super::INTERRUPTED));
        }
    })
    .context("cannot watch for Ctrl-C")
}

/// Whether one came.
pub(super) fn requested() -> bool {
    INTERRUPTED.load(Relaxed)
}
