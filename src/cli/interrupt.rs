//! Ctrl-C, and the signal that ends processes: the first asks to end at the next opportunity, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether there is somebody to ask.
static HEEDED: AtomicBool = AtomicBool::new(false);

/// From now on the first only sets a flag.
pub(super) fn watch() -> anyhow::Result<()> {
    HEEDED.store(true, Relaxed);
    watch_while_heeded()
}

/// From now on it does so within [`heed`], and ends the program at once outside.
pub(super) fn watch_while_heeded() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if !HEEDED.load(Relaxed) || INTERRUPTED.swap(true, Relaxed) {
            std::process::exit(i32::from(super::INTERRUPTED));
        }
    })
    .context("cannot watch for Ctrl-C")
}

/// Does something that looks at the flag; what came before does not count.
pub(super) fn heed<T>(work: impl FnOnce() -> T) -> T {
    INTERRUPTED.store(false, Relaxed);
    HEEDED.store(true, Relaxed);
    let done = work();
    HEEDED.store(false, Relaxed);
    done
}

/// Whether one came.
pub(super) fn requested() -> bool {
    INTERRUPTED.load(Relaxed)
}
