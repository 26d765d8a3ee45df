//! The threads that kernels split their work over, and the instruction set they use.

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use bevy_ecs::prelude::*;

use super::kernels::{Isa, Pool, map};

/// A pool of threads and the instruction set for all of them.
#[derive(Resource)]
pub struct Workers {
    pool: Pool,
    isa: Isa,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} threads")]
pub struct WorkersError {
    /// How many were asked for.
    pub threads: usize,
    /// Why not.
    pub source: io::Error,
}

impl Workers {
    /// Starts `threads` threads, 0 for one per core, that compute with `isa`.
    ///
    /// Whichever thread calls [`run`](Self::run) counts as one of them: nothing is handed over, and a world with its
    /// workers may be moved from thread to thread.
    ///
    /// # Errors
    /// The system refuses that many threads.
    pub fn new(threads: usize, isa: Isa) -> Result<Self, WorkersError> {
        let threads = if threads == 0 { available_parallelism().map_or(1, NonZero::get) } else { threads };
        let pool = Pool::new(threads).map_err(|source| WorkersError { threads, source })?;
        Ok(Self { pool, isa })
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `work` on the calling thread, where kernels find the others.
    pub fn run<R>(&self, work: impl FnOnce(Isa) -> R) -> R {
        self.pool.run(|| work(self.isa))
    }

    /// What `work` makes of every index below `count`, in their order, on all threads.
    pub fn map<T: Send>(&self, count: usize, work: impl Fn(Isa, usize) -> T + Sync) -> Vec<T> {
        self.run(|isa| map(count, |index| work(isa, index)))
    }
}
