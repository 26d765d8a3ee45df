//! What the kernels on this thread have moved and computed so far: the profile reads it before and after each system.

use std::cell::Cell;

/// Bytes read or written and arithmetic operations (a multiply-add counts as two), since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes read or written.
    pub bytes: u64,
    /// Arithmetic operations.
    pub operations: u64,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { bytes: 0, operations: 0 }) };
}

/// Adds one kernel call's traffic. Called on the thread that runs the system, not on the workers it fans out to.
pub fn add(bytes: usize, operations: usize) {
    TALLY.with(|tally| {
        let sum = tally.get();
        tally.set(Tally { bytes: sum.bytes + bytes as u64, operations: sum.operations + operations as u64 });
    });
}

thread_local! {
    static SYSTEM: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system that runs on this thread, by its row in the profile, while it is timed: what it has a device do is its.
#[must_use]
pub fn system() -> Option<usize> {
    SYSTEM.with(Cell::get)
}

/// Says which system runs on this thread.
pub fn enter(system: Option<usize>) {
    SYSTEM.with(|current| current.set(system));
}

/// The running sums of this thread.
#[must_use]
pub fn read() -> Tally {
    TALLY.with(Cell::get)
}
