//! What the wrappers of all systems share: whether to time, what the step in hand is, and where the timeline goes.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cost::Run;
use super::phase::Phase;
use super::timeline::Recorder;

pub(super) struct Switch {
    on: AtomicBool,
    records: AtomicBool,
    /// [`Phase`] of the step in hand, or [`UNKNOWN`].
    phase: AtomicU8,
    /// The layer in hand, by its index.
    pub(super) layer: AtomicUsize,
    /// Steps of each phase.
    pub(super) steps: [AtomicU64; Phase::ALL.len()],
    /// What ran in `BeginStep`, by the row of its system: it is not known yet what the step does.
    held: Mutex<Vec<(usize, Run)>>,
    recorder: Mutex<Recorder>,
}

/// Before the first step that is timed from its beginning.
const UNKNOWN: u8 = u8::MAX;

impl Default for Switch {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            records: AtomicBool::new(false),
            phase: AtomicU8::new(UNKNOWN),
            layer: AtomicUsize::new(0),
            steps: Default::default(),
            held: Mutex::default(),
            recorder: Mutex::default(),
        }
    }
}

impl Switch {
    pub(super) fn start(&self, timeline: bool) {
        self.phase.store(UNKNOWN, Relaxed);
        self.held().clear();
        self.records.store(timeline, Relaxed);
        self.on.store(true, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.on.store(false, Relaxed);
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Whether there is a timeline to write.
    pub(super) fn records(&self) -> bool {
        self.is_on() && self.records.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::ALL.get(usize::from(self.phase.load(Relaxed))).copied()
    }

    pub(super) fn begin_step(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.steps[phase as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Vec<(usize, Run)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
