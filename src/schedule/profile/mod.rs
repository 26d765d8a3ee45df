//! What every system of the three schedules costs, ours or a host's, timed by the scheduler and not by code in them.
//!
//! Before a changed schedule runs, each of its systems is put into a wrapper that times it when [`Profile`] is on; off,
//! that costs an atomic load. Kernels [`tally`](crate::tally) the bytes and operations of the system that calls them.
//!
//! Steps that read prompts and steps that only generate are counted apart: see [`Phase`]. What ran in `BeginStep` is booked
//! after it, when the batch says which the step is.

mod cost;
#[cfg(feature = "bevy_diagnostic")]
mod diagnostics;
mod histogram;
mod instrument;
mod page;
mod phase;
mod switch;
mod table;
mod timed;
mod timeline;
mod told;
mod trace;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{InternedScheduleLabel, SystemKey};

use cost::Meter;
pub use cost::{SystemCost, Times};
#[cfg(feature = "bevy_diagnostic")]
pub use diagnostics::ProfileDiagnosticsPlugin;
pub(super) use instrument::instrument;
pub use page::html_page;
pub use phase::Phase;
use switch::Switch;
pub use table::{table, tables};
pub use timeline::{Call, SequenceRows, Step, SystemRun, TimedSystem, Timeline};
pub(super) use told::{begin_step, call, enter_layer};
pub use trace::chrome_trace;

/// The profiler: off until [`Profile::start`].
#[derive(Resource, Default)]
pub struct Profile {
    switch: Arc<Switch>,
    rows: Vec<Row>,
}

struct Row {
    system: String,
    set: String,
    /// Which system: keys are unique within a schedule only.
    schedule: InternedScheduleLabel,
    key: SystemKey,
    meter: Arc<Meter>,
}

impl Profile {
    /// Times every run of the steps that begin from now on; with `timeline`, also keeps each one, up to a million.
    pub fn start(&mut self, timeline: bool) {
        self.switch.start(timeline);
    }

    /// Whether it times.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.switch.is_on()
    }

    /// Stops timing. What was measured stays.
    pub fn stop(&mut self) {
        self.switch.stop();
    }

    /// Forgets what was measured.
    pub fn clear(&mut self) {
        self.rows.iter().for_each(|row| row.meter.clear());
        self.switch.steps.iter().for_each(|steps| steps.store(0, Relaxed));
        self.take_timeline();
    }

    /// Adds what a device spent on what a system recorded: the system of this row, as [`tally::system`](crate::tally::system)
    /// named it then. It is booked as what the step in hand does, with whose answer it came.
    pub fn add_device_time(&self, row: usize, time: Duration) {
        if let (Some(row), Some(phase)) = (self.rows.get(row), self.switch.phase()) {
            row.meter.add_device_time(phase, time);
        }
    }

    /// The systems that ran, in the order of the schedules' construction.
    pub fn costs(&self) -> impl Iterator<Item = SystemCost> + '_ {
        self.rows.iter().filter_map(|row| row.meter.cost(&Phase::ALL, &row.system, &row.set))
    }

    /// As [`costs`](Self::costs), in the steps that did this.
    pub fn costs_of(&self, phase: Phase) -> impl Iterator<Item = SystemCost> + '_ {
        self.rows.iter().filter_map(move |row| row.meter.cost(&[phase], &row.system, &row.set))
    }

    /// How many steps did this.
    #[must_use]
    pub fn steps(&self, phase: Phase) -> u64 {
        self.switch.steps[phase as usize].load(Relaxed)
    }

    /// The timeline; empty unless started with one. The next one begins now.
    pub fn take_timeline(&mut self) -> Timeline {
        let systems = self.rows.iter().map(|row| TimedSystem { name: row.system.clone(), set: row.set.clone() });
        self.switch.recorder().take(systems.collect())
    }
}
