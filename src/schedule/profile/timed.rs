//! A wrapper around a system that times it. It delegates everything to the system, so that the scheduler sees no
//! difference: exclusive systems, run conditions and deferred commands work as before.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bevy_ecs::change_detection::{CheckChangeTicks, Tick};
use bevy_ecs::schedule::{InternedSystemSet, SystemWithAccess};
use bevy_ecs::system::{RunSystemError, System, SystemAccess, SystemIn, SystemStateFlags};
use bevy_ecs::utils::prelude::DebugName;
use bevy_ecs::world::unsafe_world_cell::UnsafeWorldCell;
use bevy_ecs::world::{DeferredWorld, World};

use super::cost::{Meter, Run};
use super::switch::Switch;
use crate::tally;

/// Which part of a step a system runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Begin,
    Layer,
    End,
}

pub(super) struct Timed {
    system: SystemWithAccess,
    /// The system's row in the profile.
    row: usize,
    part: Part,
    meter: Arc<Meter>,
    switch: Arc<Switch>,
}

impl Timed {
    pub(super) fn new(
        system: SystemWithAccess,
        row: usize,
        part: Part,
        meter: Arc<Meter>,
        switch: Arc<Switch>,
    ) -> Self {
        Self { system, row, part, meter, switch }
    }

    fn record(&self, run: &Run) {
        if self.part == Part::Begin {
            self.switch.held().push((self.row, *run));
        } else if let Some(phase) = self.switch.phase() {
            self.meter.add(phase, run);
            if self.switch.records() {
                let layer = (self.part == Part::Layer).then(|| self.switch.layer.load(Relaxed));
                self.switch.recorder().add(self.row, layer, run);
            }
        }
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
            let (time, after) = (started.elapsed(), tally::read());
            let (bytes, operations) = (after.bytes - before.bytes, after.operations - before.operations);
            self.record(&Run { started, time, bytes, operations });
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
