//! What a device's work takes, by its own clock. Timestamps belong to the boundaries of passes, everywhere: to time systems one
//! by one, a step is split into as many passes, which slows it.

use std::time::Duration;

use super::context::{DeviceError, GpuContext};
use super::readback::{Answer, Staging};

/// What of a submission is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Timing {
    /// Nothing.
    #[default]
    Off,
    /// All of it.
    Whole,
    /// Each system's part, in a pass of its own.
    Systems,
}

/// Passes of a submission that are timed, at most.
const MOST_PASSES: u32 = 256;

/// The clock of one device.
#[derive(Debug, Default)]
pub(super) struct Clock {
    queries: Option<(wgpu::QuerySet, wgpu::Buffer)>,
    staging: Staging,
    passes: Vec<Option<usize>>,
    pending: Vec<Timed>,
}

#[derive(Debug)]
struct Timed {
    /// Of each pass, the system that it is of.
    systems: Vec<Option<usize>>,
    /// Pieces of a step in it, and whether its rows were all single ones.
    work: Work,
    answer: Answer,
}

/// What of a step a submission has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Layers, or the head.
    pub(super) pieces: u32,
    /// Whether it is a whole step of single rows.
    pub(super) is_decode: bool,
    /// Whether it was split into a pass for each system.
    pub(super) is_split: bool,
}

/// What one submission took.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) work: Work,
    /// From its first pass to the end of its last.
    pub(super) all: Duration,
    /// Each system's row in the profile, and its pass.
    pub(super) systems: Vec<(usize, Duration)>,
}

impl Clock {
    /// Begins to time a submission. Whether this device can.
    pub(super) fn begin(&mut self, context: &GpuContext) -> Result<bool, DeviceError> {
        if !context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(false);
        }
        self.passes.clear();
        if self.queries.is_none() {
            let descriptor = wgpu::QuerySetDescriptor {
                label: Some("the clock"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * MOST_PASSES,
            };
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolved = context.buffer("timestamps", 16 * u64::from(MOST_PASSES), usage)?;
            self.queries = Some((context.device().create_query_set(&descriptor), resolved));
        }
        Ok(true)
    }

    /// Where the next pass, of `system`, writes its times.
    pub(super) fn pass(&mut self, system: Option<usize>) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let index = 2 * self.passes.len() as u32;
        if index >= 2 * MOST_PASSES {
            return None;
        }
        self.passes.push(system);
        self.queries.as_ref().map(|(query_set, _)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(index),
            end_of_pass_write_index: Some(index + 1),
        })
    }

    /// Ends the submission: its times come back like its tokens.
    pub(super) fn end(
        &mut self,
        context: &GpuContext,
        encoder: &mut wgpu::CommandEncoder,
        work: Work,
    ) -> Result<(), DeviceError> {
        let Some((set, resolved)) = &self.queries else { return Ok(()) };
        let count = 2 * self.passes.len() as u32;
        if count == 0 {
            return Ok(());
        }
        let bytes = 8 * u64::from(count);
        let answer = self.staging.take(context, bytes, 0, 0)?;
        encoder.resolve_query_set(set, 0..count, resolved, 0);
        encoder.copy_buffer_to_buffer(resolved, 0, answer.buffer(), 0, bytes);
        self.pending.push(Timed { systems: std::mem::take(&mut self.passes), work, answer });
        Ok(())
    }

    /// Asks for the times of what was just submitted.
    pub(super) fn ask(&mut self, submission: &wgpu::SubmissionIndex) {
        for timed in self.pending.iter_mut().filter(|timed| !timed.answer.is_asked()) {
            timed.answer.ask(submission);
        }
    }

    /// The times that have come.
    pub(super) fn take(&mut self, context: &GpuContext) -> Result<Vec<Measured>, DeviceError> {
        let mut measured = Vec::new();
        let period = f64::from(context.queue().get_timestamp_period());
        while let Some(timed) = self.pending.first() {
            if !timed.answer.is_here(context)? {
                break;
            }
            let timed = self.pending.remove(0);
            timed.answer.read(context, |words, _| {
                let ticks: Vec<u64> =
                    words.chunks_exact(2).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32).collect();
                let span = |from: u64, to: u64| Duration::from_nanos((to.saturating_sub(from) as f64 * period) as u64);
                let passes = timed.systems.iter().zip(ticks.chunks_exact(2));
                measured.push(Measured {
                    work: timed.work,
                    all: span(ticks.first().copied().unwrap_or(0), ticks.last().copied().unwrap_or(0)),
                    systems: passes
                        .filter_map(|(system, ticks)| Some(((*system)?, span(ticks[0], ticks[1]))))
                        .collect(),
                });
            })?;
            self.staging.give_back(timed.answer);
        }
        Ok(measured)
    }
}
