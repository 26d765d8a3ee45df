//! What happened when: each call of [`advance`](crate::schedule::advance()), each step, and each run of a system.

use std::ops::Range;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;

use super::cost::Run;
use super::phase::Phase;
use crate::schedule::{Budget, Progress};
use crate::world::batch::Batch;

/// What happened, in the order it did. All times are since profiling began.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The systems that ran.
    pub systems: Vec<TimedSystem>,
    /// The calls of [`advance`](crate::schedule::advance()).
    pub calls: Vec<Call>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The runs of systems, step by step.
    pub runs: Vec<SystemRun>,
    /// How many steps came later than what is kept, whose last step may lack its end then.
    pub steps_left_out: usize,
}

/// A system of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedSystem {
    /// Its name, without its path.
    pub name: String,
    /// The set it is in, empty if none of ours.
    pub set: String,
}

/// A call of [`advance`](crate::schedule::advance()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
    /// What it was given.
    pub budget: Budget,
    /// What it came to; nothing, while it lasts.
    pub progress: Option<Progress>,
}

/// A step, which may take several calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub phase: Phase,
    /// Whose rows it has.
    pub sequences: Vec<SequenceRows>,
    /// Which runs of the timeline are its.
    pub runs: Range<usize>,
}

/// The rows that a sequence has in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRows {
    /// The [`Name`] of the sequence, or else its entity.
    pub name: String,
    /// How many there are.
    pub rows: usize,
    /// Where in the sequence the first one is, from 0.
    pub position: usize,
}

/// One run of one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRun {
    /// Which of the timeline's systems.
    pub system: usize,
    /// Which of the timeline's calls it was in.
    pub call: usize,
    /// The layer that it passed over, `None` before the first and after the last.
    pub layer: Option<usize>,
    /// When it began.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

impl Step {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.rows).sum()
    }

    /// The step in hand, once its batch is filled.
    fn in_hand(world: &World, phase: Phase, at: usize) -> Self {
        let batch = world.resource::<Batch>();
        let sequences = batch.spans.iter().map(|span| SequenceRows {
            name: world.get::<Name>(span.sequence).map_or_else(|| span.sequence.to_string(), ToString::to_string),
            rows: span.rows.len(),
            position: batch.positions[span.rows.start] as usize,
        });
        Self { phase, sequences: sequences.collect(), runs: at..at }
    }
}

impl Timeline {
    /// The runs of `step`.
    #[must_use]
    pub fn runs_of(&self, step: &Step) -> &[SystemRun] {
        &self.runs[step.runs.clone()]
    }

    /// From when to when `runs` lasted, with what was between them.
    pub(super) fn extent(runs: &[SystemRun]) -> Range<Duration> {
        let start = runs.first().map_or(Duration::ZERO, |run| run.start);
        start..runs.last().map_or(start, |run| run.start + run.time)
    }
}

/// Runs that are kept, and calls, at most: some 5000 steps of a model of 24 layers, in 70 MB.
const MOST: usize = 1 << 20;

/// Writes a timeline.
pub(super) struct Recorder {
    began: Instant,
    timeline: Timeline,
    /// Whether a call is being recorded.
    in_call: bool,
    /// Whether the step in hand is.
    in_step: bool,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), timeline: Timeline::default(), in_call: false, in_step: false }
    }
}

impl Recorder {
    pub(super) fn begin_call(&mut self, budget: Budget) {
        self.in_call = self.timeline.runs.len().max(self.timeline.calls.len()) < MOST;
        if self.in_call {
            let start = self.began.elapsed();
            self.timeline.calls.push(Call { start, time: Duration::ZERO, budget, progress: None });
        }
    }

    pub(super) fn end_call(&mut self, progress: Progress) {
        if std::mem::take(&mut self.in_call)
            && let Some(call) = self.timeline.calls.last_mut()
        {
            call.time = self.began.elapsed() - call.start;
            call.progress = Some(progress);
        }
    }

    pub(super) fn begin_step(&mut self, world: &World, phase: Phase) {
        self.in_step = self.in_call;
        if self.in_step {
            let step = Step::in_hand(world, phase, self.timeline.runs.len());
            self.timeline.steps.push(step);
        } else {
            self.timeline.steps_left_out += 1;
        }
    }

    pub(super) fn add(&mut self, system: usize, layer: Option<usize>, run: &Run) {
        if self.in_step
            && self.in_call
            && let Some(step) = self.timeline.steps.last_mut()
        {
            let start = run.started.saturating_duration_since(self.began);
            let call = self.timeline.calls.len() - 1;
            self.timeline.runs.push(SystemRun { system, call, layer, start, time: run.time });
            step.runs.end = self.timeline.runs.len();
        }
    }

    /// What was written; the next one begins now.
    pub(super) fn take(&mut self, systems: Vec<TimedSystem>) -> Timeline {
        Timeline { systems, ..std::mem::take(self).timeline }
    }
}
