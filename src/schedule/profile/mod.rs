//! What every system of the three schedules costs, ours or a host's, timed by the scheduler and not by code in them.
//!
//! Before a changed schedule runs, each of its systems is put into a wrapper that times it when [`Profile`] is on; off,
//! that costs an atomic load. Kernels [`tally`](crate::tally) the bytes and operations of the system that calls them.

mod table;
mod timed;
mod trace;

use std::any::{Any, TypeId};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{
    ApplyDeferred, InternedScheduleLabel, InternedSystemSet, ScheduleLabel, SystemKey, SystemWithAccess,
};

use super::sets::{BeginStep, EndStep, LayerPass, LayerSystems, StepSystems};
pub use table::table;
use timed::{Meter, Timed};
pub use trace::chrome_trace;

/// The profiler: off until [`Profile::start`].
#[derive(Resource)]
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

impl Row {
    /// What the system has cost, each count as `read` has it.
    fn cost(&self, read: impl Fn(&AtomicU64) -> u64) -> SystemCost {
        SystemCost {
            system: self.system.clone(),
            set: self.set.clone(),
            calls: read(&self.meter.calls),
            time: Duration::from_nanos(read(&self.meter.nanoseconds)),
            device: Duration::from_nanos(read(&self.meter.device_nanoseconds)),
            bytes: read(&self.meter.bytes),
            operations: read(&self.meter.operations),
        }
    }
}

/// What one system has cost.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemCost {
    /// The system's name, without its path.
    pub system: String,
    /// The set it is in, empty if none of ours.
    pub set: String,
    /// How often it ran. A system skipped because it does not match the layer in hand has not run.
    pub calls: u64,
    /// Time spent in it.
    pub time: Duration,
    /// Time that a device spent on what it recorded, by the device's clock.
    pub device: Duration,
    /// Bytes its kernels read and wrote, as they count them.
    pub bytes: u64,
    /// Arithmetic operations of its kernels, a multiply-add counting as two.
    pub operations: u64,
}

/// One run of one system, for a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemRun {
    /// The system's name, without its path.
    pub system: String,
    /// The set it is in, empty if none of ours.
    pub set: String,
    /// Since profiling began.
    pub start: Duration,
    /// How long it ran.
    pub time: Duration,
}

/// Shared by all wrappers: whether to time, and where the timeline goes.
struct Switch {
    on: AtomicBool,
    began: Instant,
    tracing: AtomicBool,
    runs: Mutex<Vec<(usize, Duration, Duration)>>,
}

impl Switch {
    fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    fn trace(&self, row: usize, started: Instant, time: Duration) {
        if self.tracing.load(Relaxed) {
            let start = started.saturating_duration_since(self.began);
            self.runs.lock().unwrap_or_else(PoisonError::into_inner).push((row, start, time));
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        let switch = Switch {
            on: AtomicBool::new(false),
            began: Instant::now(),
            tracing: AtomicBool::new(false),
            runs: Mutex::new(Vec::new()),
        };
        Self { switch: Arc::new(switch), rows: Vec::new() }
    }
}

impl Profile {
    /// Times every run from now on; with `timeline`, also keeps each one.
    pub fn start(&mut self, timeline: bool) {
        self.switch.tracing.store(timeline, Relaxed);
        self.switch.on.store(true, Relaxed);
    }

    /// Whether it times.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.switch.is_on()
    }

    /// Adds what a device spent on what a system recorded: the system of this row, as [`tally::system`](crate::tally::system)
    /// named it then.
    pub fn add_device_time(&self, row: usize, time: Duration) {
        if let Some(row) = self.rows.get(row) {
            row.meter.device_nanoseconds.fetch_add(time.as_nanos() as u64, Relaxed);
        }
    }

    /// Stops timing. What was measured stays.
    pub fn stop(&mut self) {
        self.switch.on.store(false, Relaxed);
    }

    /// The systems that ran, in the order of the schedules' construction.
    pub fn costs(&self) -> impl Iterator<Item = SystemCost> + '_ {
        self.rows.iter().map(|row| row.cost(|count| count.load(Relaxed))).filter(|cost| cost.calls > 0)
    }

    /// As [`costs`](Self::costs), which from here on are counted anew: for the parts of a measurement.
    pub fn take_costs(&mut self) -> Vec<SystemCost> {
        self.rows.iter().map(|row| row.cost(|count| count.swap(0, Relaxed))).filter(|cost| cost.calls > 0).collect()
    }

    /// The timeline, in the order things ran; empty unless started with one.
    #[must_use]
    pub fn timeline(&self) -> Vec<SystemRun> {
        let runs = self.switch.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let describe = |&(row, start, time): &(usize, Duration, Duration)| {
            let row: &Row = &self.rows[row];
            SystemRun { system: row.system.clone(), set: row.set.clone(), start, time }
        };
        runs.iter().map(describe).collect()
    }
}

/// Puts the systems that were added since the last call into timing wrappers.
pub(super) fn instrument(world: &mut World) {
    for label in [BeginStep.intern(), LayerPass.intern(), EndStep.intern()] {
        if world.resource::<Schedules>().get(label).is_some_and(Schedule::is_changed) {
            world.resource_scope(|world, mut profile: Mut<Profile>| {
                world.schedule_scope(label, |world, schedule| {
                    profile.wrap(label, schedule);
                    // Sets are known once the schedule is built. If it cannot be, running it says why.
                    if schedule.initialize(world).is_ok() {
                        profile.name_sets(label, schedule);
                    }
                });
            });
        }
    }
}

impl Profile {
    fn wrap(&mut self, label: InternedScheduleLabel, schedule: &mut Schedule) {
        let systems = &mut schedule.graph_mut().systems;
        let wrapped = |row: &Row| (row.schedule == label).then_some(row.key);
        let wrapped: HashSet<SystemKey> = self.rows.iter().filter_map(wrapped).collect();
        let keys: Vec<SystemKey> = systems
            .iter()
            .filter(|(key, system, _)| !wrapped.contains(key) && system.system_type() != TypeId::of::<ApplyDeferred>())
            .map(|(key, _, _)| key)
            .collect();
        for key in keys {
            let Some(slot) = systems.get_mut(key) else { continue };
            let placeholder = SystemWithAccess::new(Box::new(IntoSystem::into_system(|| ())));
            let system = std::mem::replace(slot, placeholder);
            let meter = Arc::new(Meter::default());
            let name = system.name().shortname().to_string();
            let timed = Timed::new(system, self.rows.len(), meter.clone(), self.switch.clone());
            *slot = SystemWithAccess::new(Box::new(timed));
            self.rows.push(Row { system: name, set: String::new(), schedule: label, key, meter });
        }
    }

    fn name_sets(&mut self, label: InternedScheduleLabel, schedule: &Schedule) {
        let sets = schedule.graph().system_sets.iter().filter_map(|(_, set, _)| ours(set));
        for set in sets {
            let Ok(keys) = schedule.graph().systems_in_set(set) else { continue };
            for row in self.rows.iter_mut().filter(|row| row.schedule == label && keys.contains(&row.key)) {
                row.set = format!("{set:?}");
            }
        }
    }
}

/// The set, if it is one of a step's or of a layer's.
fn ours(set: &dyn SystemSet) -> Option<InternedSystemSet> {
    let set: &dyn Any = set;
    let of_step = set.downcast_ref::<StepSystems>().map(SystemSet::intern);
    of_step.or_else(|| set.downcast_ref::<LayerSystems>().map(SystemSet::intern))
}
