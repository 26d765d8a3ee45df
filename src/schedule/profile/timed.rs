//! A wrapper around a system that times it. It delegates everything to the system, so that the scheduler sees no
//! difference: exclusive systems, run conditions and deferred commands work as before.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bevy_ecs::change_detection::{CheckChangeTicks, Tick};
use bevy_ecs::schedule::{InternedSystemSet, SystemWithAccess};
use bevy_ecs::system::{RunSystemError, System, SystemAccess, SystemIn, SystemStateFlags};
use bevy_ecs::utils::prelude::DebugName;
use bevy_ecs::world::unsafe_world_cell::UnsafeWorldCell;
use bevy_ecs::world::{DeferredWorld, World};

use super::Switch;
use crate::tally;

/// What one system has cost since profiling began.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) calls: AtomicU64,
    pub(super) nanoseconds: AtomicU64,
    pub(super) device_nanoseconds: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) operations: AtomicU64,
}

pub(super) struct Timed {
    system: SystemWithAccess,
    /// The system's row in the profile.
    row: usize,
    meter: Arc<Meter>,
    switch: Arc<Switch>,
}

impl Timed {
    pub(super) fn new(system: SystemWithAccess, row: usize, meter: Arc<Meter>, switch: Arc<Switch>) -> Self {
        Self { system, row, meter, switch }
    }

    fn record(&self, started: Instant, before: tally::Tally) {
        let elapsed = started.elapsed();
        let after = tally::read();
        self.meter.calls.fetch_add(1, Relaxed);
        self.meter.nanoseconds.fetch_add(elapsed.as_nanos() as u64, Relaxed);
        self.meter.bytes.fetch_add(after.bytes - before.bytes, Relaxed);
        self.meter.operations.fetch_add(after.operations - before.operations, Relaxed);
        self.switch.trace(self.row, started, elapsed);
    }
}

#[expect(unsafe_code, reason = "the one method of a system that the scheduler calls is unsafe to delegate")]
impl System for Timed {
    type In = ();
    type Out = ();

    fn name(&self) -> DebugName {
        self.system.name()
    }

    fn system_type(&self) -> TypeId {
        self.system.system_type()
    }

    fn flags(&self) -> SystemStateFlags {
        self.system.flags()
    }

    unsafe fn run_unsafe(&mut self, input: SystemIn<'_, Self>, world: UnsafeWorldCell) -> Result<(), RunSystemError> {
        if !self.switch.is_on() {
            // SAFETY: the caller's promises are those that the wrapped system asks for, since its access is ours.
            return unsafe { self.system.run_unsafe(input, world) };
        }
        let (started, before) = (Instant::now(), tally::read());
        tally::enter(Some(self.row));
        // SAFETY: as above.
        let result = unsafe { self.system.run_unsafe(input, world) };
        tally::enter(None);
        // A system that was skipped, because the layer in hand is not its kind, has not run.
        if !matches!(result, Err(RunSystemError::Skipped(_))) {
            self.record(started, before);
        }
        result
    }

    fn apply_deferred(&mut self, world: &mut World) {
        self.system.apply_deferred(world);
    }

    fn queue_deferred(&mut self, world: DeferredWorld) {
        self.system.queue_deferred(world);
    }

    fn initialize(&mut self, world: &mut World) -> SystemAccess {
        self.system.initialize(world)
    }

    fn check_change_tick(&mut self, check: CheckChangeTicks) {
        self.system.check_change_tick(check);
    }

    fn default_system_sets(&self) -> Vec<InternedSystemSet> {
        self.system.default_system_sets()
    }

    fn get_last_run(&self) -> Tick {
        self.system.get_last_run()
    }

    fn set_last_run(&mut self, last_run: Tick) {
        self.system.set_last_run(last_run);
    }
}
