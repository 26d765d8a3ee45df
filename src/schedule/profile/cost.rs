//! What one system has cost: counted while it runs, and read by whoever wants to know.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::histogram::{Counts, Histogram};
use super::phase::Phase;

/// What one system has cost.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemCost {
    /// The system's name, without its path.
    pub system: String,
    /// The set it is in, empty if none of ours.
    pub set: String,
    /// Its runs. A system skipped because it does not match the layer in hand has not run.
    pub host: Times,
    /// What a device did of what it recorded, by the device's clock: of those runs that were timed there.
    pub device: Times,
    /// Bytes its kernels read and wrote, as they count them.
    pub bytes: u64,
    /// Arithmetic operations of its kernels, a multiply-add counting as two.
    pub operations: u64,
}

/// How often something ran, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// All runs together.
    pub total: Duration,
    /// What half of the runs did not exceed, to 3 %.
    pub p50: Duration,
    /// What 99 of 100 runs did not exceed, to 3 %.
    pub p99: Duration,
}

impl Times {
    /// What a run took, in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count > 0 { self.total.as_secs_f64() / self.count as f64 } else { 0.0 }
    }
}

impl SystemCost {
    /// The times that count: the device's where it had one do something, and the host's otherwise.
    #[must_use]
    pub fn times(&self) -> &Times {
        if self.device.count > 0 { &self.device } else { &self.host }
    }

    /// What all its runs took, in seconds; those that a device did not time as much as those that it did.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.times().mean() * self.host.count as f64
    }

    /// Bytes per second.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        self.bytes as f64 / self.seconds()
    }

    /// Operations per second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.operations as f64 / self.seconds()
    }
}

/// One run of a system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) started: Instant,
    pub(super) time: Duration,
    pub(super) bytes: u64,
    pub(super) operations: u64,
}

/// Counts what one system costs, each phase apart.
#[derive(Debug, Default)]
pub(super) struct Meter([PhaseMeter; Phase::ALL.len()]);

#[derive(Debug, Default)]
struct PhaseMeter {
    host: Clock,
    device: Clock,
    bytes: AtomicU64,
    operations: AtomicU64,
}

#[derive(Debug, Default)]
struct Clock {
    count: AtomicU64,
    nanoseconds: AtomicU64,
    histogram: Histogram,
}

impl Meter {
    pub(super) fn add(&self, phase: Phase, run: &Run) {
        let meter = &self.0[phase as usize];
        meter.host.add(run.time);
        meter.bytes.fetch_add(run.bytes, Relaxed);
        meter.operations.fetch_add(run.operations, Relaxed);
    }

    pub(super) fn add_device_time(&self, phase: Phase, time: Duration) {
        self.0[phase as usize].device.add(time);
    }

    pub(super) fn clear(&self) {
        for meter in &self.0 {
            meter.bytes.store(0, Relaxed);
            meter.operations.store(0, Relaxed);
            meter.host.clear();
            meter.device.clear();
        }
    }

    /// The time of all runs: a device's where it did something, and the host's otherwise.
    #[cfg(feature = "bevy_diagnostic")]
    pub(super) fn spent(&self) -> Duration {
        let total = |clock: fn(&PhaseMeter) -> &Clock| {
            self.0.iter().map(|meter| clock(meter).nanoseconds.load(Relaxed)).sum::<u64>()
        };
        let device = total(|meter| &meter.device);
        Duration::from_nanos(if device > 0 { device } else { total(|meter| &meter.host) })
    }

    /// What the system cost in these phases together, nothing if it did not run.
    pub(super) fn cost(&self, phases: &[Phase], system: &str, set: &str) -> Option<SystemCost> {
        let meters = || phases.iter().map(|&phase| &self.0[phase as usize]);
        let sum = |count: fn(&PhaseMeter) -> &AtomicU64| meters().map(|meter| count(meter).load(Relaxed)).sum();
        let host = Clock::read(meters().map(|meter| &meter.host));
        (host.count > 0).then(|| SystemCost {
            system: system.to_owned(),
            set: set.to_owned(),
            host,
            device: Clock::read(meters().map(|meter| &meter.device)),
            bytes: sum(|meter| &meter.bytes),
            operations: sum(|meter| &meter.operations),
        })
    }
}

impl Clock {
    fn add(&self, time: Duration) {
        let nanoseconds = time.as_nanos() as u64;
        self.count.fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
        self.histogram.add(nanoseconds);
    }

    fn clear(&self) {
        self.count.store(0, Relaxed);
        self.nanoseconds.store(0, Relaxed);
        self.histogram.clear();
    }

    fn read<'a>(clocks: impl Iterator<Item = &'a Self>) -> Times {
        let (mut times, mut counts) = (Times::default(), Counts::none());
        for clock in clocks {
            times.count += clock.count.load(Relaxed);
            times.total += Duration::from_nanos(clock.nanoseconds.load(Relaxed));
            counts.add(&clock.histogram.read());
        }
        Times { p50: counts.percentile(0.5), p99: counts.percentile(0.99), ..times }
    }
}
