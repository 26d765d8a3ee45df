//! The threads that kernels split their work over, and the instruction set they use.

use bevy_ecs::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::kernels::Isa;

/// A pool of threads and the instruction set for all of them.
#[derive(Resource)]
pub struct Workers {
    pool: ThreadPool,
    isa: Isa,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} threads")]
pub struct WorkersError {
    /// How many were asked for.
    pub threads: usize,
    /// Why not.
    pub source: rayon::ThreadPoolBuildError,
}

impl Workers {
    /// Starts `threads` threads, 0 for one per core, that compute with `isa`.
    ///
    /// The calling thread counts as one of them if it is in no other pool: calls from it then start no hand-over, which
    /// otherwise costs each system some microseconds.
    ///
    /// # Errors
    /// The system refuses that many threads.
    pub fn new(threads: usize, isa: Isa) -> Result<Self, WorkersError> {
        let builder = || ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("loquent-{index}"));
        let pool = builder().use_current_thread().build().or_else(|_| builder().build());
        Ok(Self { pool: pool.map_err(|source| WorkersError { threads, source })?, isa })
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `work` where kernels find this pool.
    pub fn run<R: Send>(&self, work: impl FnOnce(Isa) -> R + Send) -> R {
        self.pool.install(|| work(self.isa))
    }
}
