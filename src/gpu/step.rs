//! The step in hand: what systems have enqueued, and what was sent to the device and has not been answered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;

use super::context::DeviceError;
use super::model::GpuModel;
use super::pipelines::Prepared;
use super::plan::BatchShape;
use super::readback::Answer;
use super::recording::{Buffer, Place};
use super::timing::{Clock, Timing, Work};
use crate::schedule::Awaited;
use crate::schedule::profile::Profile;
use crate::tally;
use crate::world::sampler::Sampler;

/// What the systems of a step tell the device, in order. A host's systems record through it as ours do.
#[derive(Resource, Default)]
pub struct Recorder {
    items: Vec<Item>,
    /// Whether the step was sent ahead, so that what systems enqueue is on its way already.
    pub(super) sent: bool,
    /// Whether a host has recorded something, now or lately: such steps are not sent ahead.
    pub(super) quiet_steps: u32,
}

enum Item {
    Run(Arc<Prepared>, Range<usize>, Option<usize>),
    Host(HostDispatch),
    Tap(Tap),
}

/// A dispatch of a host's own shader.
#[derive(Clone, Debug)]
pub struct HostDispatch {
    /// Its pipeline.
    pub pipeline: wgpu::ComputePipeline,
    /// Its only bind group, at index 0. [`GpuModel::buffer`] has the buffers of a step.
    pub bind_group: wgpu::BindGroup,
    /// Workgroups.
    pub workgroups: [u32; 3],
}

/// Asks for what is in a buffer at this place of the step, to be read when the step is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// A name of the host's choosing.
    pub label: String,
    /// Which buffer.
    pub buffer: Buffer,
}

/// What a [`Tap`] found: written when the step is answered.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct Tapped {
    /// The tap's label.
    pub label: String,
    /// The rows that it found, in the order of the batch, each as far apart as the device has them.
    pub rows: Vec<Vec<f32>>,
}

/// Steps that must pass without anything of a host before a step is sent ahead again.
const QUIET: u32 = 8;

impl Recorder {
    /// Enqueues the part of a recording that belongs to a system.
    pub(super) fn enqueue(&mut self, prepared: &Arc<Prepared>, place: Place) {
        let range = prepared.recording.range(place);
        if !range.is_empty() {
            tally::add(prepared.weight_bytes(range.clone()) as usize, 0);
            self.items.push(Item::Run(prepared.clone(), range, tally::system()));
        }
    }

    /// Runs a host's dispatch here.
    pub fn record(&mut self, dispatch: HostDispatch) {
        self.items.push(Item::Host(dispatch));
        self.recall();
    }

    /// Reads a buffer here; the answer comes as a [`Tapped`].
    pub fn tap(&mut self, tap: Tap) {
        self.items.push(Item::Tap(tap));
        self.recall();
    }

    /// A step that was sent ahead without this is computed again: all that was enqueued is still here, and what it wrote is
    /// beyond what caches say that they hold.
    fn recall(&mut self) {
        self.sent = false;
        self.quiet_steps = QUIET;
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
    }
}

/// Where the step in hand is.
#[derive(Resource, Default)]
pub struct GpuStep {
    pub(super) shape: BatchShape,
    /// Of each row of the batch, its row on the device: rows of one kind are together there.
    pub(super) rows: Vec<Option<u32>>,
    pub(super) body: Option<Arc<Prepared>>,
    /// Which half of the picks this step writes.
    pub(super) half: u32,
    pub(super) pending: Option<Pending>,
    pub(super) ahead: Option<Ahead>,
    /// Rows of the group's logits that came back: their tokens are picked on the host.
    pub(super) on_host: Vec<usize>,
    pub(super) taps: Vec<(Tap, Answer)>,
    pub(super) counts: StepCounts,
    pub(super) clock: Clock,
    /// Of steps of single rows, how many there were and what they took: sent as one pass, and split.
    pub(super) passes: [(u32, Duration); 2],
    /// What is in hand is to be timed as this.
    pub(super) timing: Timing,
    /// Submissions that the device has not said it is done with.
    pub(super) outstanding: Arc<AtomicU32>,
}

/// How often the device was told something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Steps that were sent before the one before them was read.
    pub sent_ahead: u64,
    /// Those among them that came to nothing.
    pub in_vain: u64,
    /// Times that commands were submitted.
    pub submissions: u64,
    /// Dispatches in them.
    pub dispatches: u64,
    /// Bytes of weights that those read.
    pub weight_bytes: u64,
    /// Host time spent encoding commands,
    pub encoding: Duration,
    /// submitting them,
    pub submitting: Duration,
    /// and waiting for what comes back.
    pub waiting: Duration,
}

/// What will be answered.
pub(super) struct Pending {
    pub(super) answer: Answer,
    /// Whose tokens the device picks, in the order of the picks.
    pub(super) picking: Vec<Entity>,
    /// Rows of the group's logits that come back, in order.
    pub(super) logits: Vec<usize>,
}

/// A step that was sent before its turn: each sequence's next row, if all goes on as it does.
pub(super) struct Ahead {
    pub(super) model: Entity,
    pub(super) rows: Vec<AheadRow>,
    pub(super) half: u32,
    pub(super) answer: Answer,
}

pub(super) struct AheadRow {
    pub(super) sequence: Entity,
    pub(super) position: usize,
    /// As it was before the step's random number was drawn.
    pub(super) sampler: Sampler,
}

/// What goes to the device, and what it is to give back.
pub(super) struct Sending<'a> {
    pub(super) picks: Range<u32>,
    pub(super) logit_rows: &'a [u32],
}

impl GpuStep {
    /// Has what was sent ahead come to nothing: it is computed again.
    pub(crate) fn forget_ahead(&mut self) {
        self.counts.in_vain += u64::from(self.ahead.take().is_some());
    }

    /// How often the device was told something.
    #[must_use]
    pub fn counts(&self) -> StepCounts {
        self.counts
    }

    /// Sends all that was enqueued. Where something is to come back, the answer to wait for is returned.
    pub(super) fn submit(
        &mut self,
        model: &mut GpuModel,
        recorder: &mut Recorder,
        sending: Option<Sending<'_>>,
    ) -> Result<Option<Answer>, DeviceError> {
        let items = std::mem::take(&mut recorder.items);
        if items.is_empty() && sending.is_none() {
            return Ok(None);
        }
        let context = model.context().clone();
        if std::mem::take(&mut model.table.dirty) {
            model.write_table();
        }
        let started = Instant::now();
        let scopes = context.catch();
        let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let timed = self.timing != Timing::Off && self.clock.begin(&context)?;
        for item in &items {
            if let Item::Run(prepared, range, _) = item {
                self.counts.dispatches += range.len() as u64;
                self.counts.weight_bytes += prepared.weight_bytes(range.clone());
            }
        }
        // A layer has two systems.
        let systems = items.iter().filter(|item| matches!(item, Item::Run(..))).count();
        let work = Work {
            pieces: systems.div_ceil(2) as u32,
            is_decode: sending.is_some() && self.shape.rows() == self.shape.single && systems > model.layers().len(),
            is_split: self.timing == Timing::Systems,
        };
        let mut items = items.into_iter().peekable();
        while let Some(first) = items.peek() {
            let mut tap = None;
            {
                let system = if let Item::Run(.., system) = first { *system } else { None };
                let timestamp_writes = if timed { self.clock.pass(system) } else { None };
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                let mut pass = encoder.begin_compute_pass(&descriptor);
                for item in items.by_ref() {
                    match item {
                        Item::Run(prepared, range, _) => {
                            prepared.encode(range, &mut pass);
                            if self.timing == Timing::Systems {
                                break;
                            }
                        }
                        Item::Host(HostDispatch { pipeline, bind_group, workgroups: [x, y, z] }) => {
                            pass.set_pipeline(&pipeline);
                            pass.set_bind_group(0, &bind_group, &[]);
                            pass.dispatch_workgroups(x, y, z);
                        }
                        Item::Tap(asked) => {
                            tap = Some(asked);
                            break;
                        }
                    }
                }
            }
            if let Some(tap) = tap
                && let Some(buffer) = model.buffer(tap.buffer).cloned()
            {
                let bytes = buffer.size();
                let answer = model.stage_bytes(bytes)?;
                encoder.copy_buffer_to_buffer(&buffer, 0, answer.buffer(), 0, bytes);
                self.taps.push((tap, answer));
            }
        }
        let answer = match &sending {
            Some(sending) => Some(model.stage(&mut encoder, sending.picks.clone(), sending.logit_rows)?),
            None => None,
        };
        if timed {
            self.clock.end(&context, &mut encoder, work)?;
        }
        self.counts.submissions += 1;
        let commands = encoder.finish();
        self.counts.encoding += started.elapsed();
        let started = Instant::now();
        let submission = context.queue().submit([commands]);
        self.counts.submitting += started.elapsed();
        if self.timing != Timing::Off {
            self.outstanding.fetch_add(1, Ordering::Relaxed);
            let outstanding = self.outstanding.clone();
            context.queue().on_submitted_work_done(move || _ = outstanding.fetch_sub(1, Ordering::Relaxed));
        }
        self.clock.ask(&submission);
        let mut answer = answer;
        for asked in self.taps.iter_mut().map(|(_, answer)| answer).chain(&mut answer).filter(|asked| !asked.is_asked())
        {
            asked.ask(&submission);
        }
        scopes.close("a step", 0)?;
        Ok(answer)
    }

    /// Whether the device is at work, as far as was polled.
    pub(super) fn is_busy(&self) -> bool {
        self.outstanding.load(Ordering::Relaxed) > 0
    }

    /// Takes the times that have come: those of systems for the profile, and what a piece takes for whoever has a budget.
    pub(super) fn take_times(
        &mut self,
        model: &GpuModel,
        profile: &Profile,
        awaited: &mut Awaited,
    ) -> Result<(), DeviceError> {
        for measured in self.clock.take(model.context())? {
            let Work { pieces, is_decode, is_split } = measured.work;
            // In one pass, no system can be told from another; split, passes of one that follow one another are of one run.
            for run in measured.systems.chunk_by(|(row, _), (next, _)| row == next).filter(|_| is_split) {
                profile.add_device_time(run[0].0, run.iter().map(|&(_, time)| time).sum());
            }
            if is_decode {
                let (count, time) = &mut self.passes[usize::from(is_split)];
                (*count, *time) = (*count + 1, *time + measured.all);
            }
            if !is_split {
                awaited.piece = measured.all / pieces.max(1);
            }
        }
        Ok(())
    }

    /// What a decode step takes on the device: as one pass, and split into one for each system, as profiling does. Nothing
    /// where none was timed.
    #[must_use]
    pub fn step_times(&self) -> [Option<Duration>; 2] {
        self.passes.map(|(count, time)| (count > 0).then(|| time / count.max(1)))
    }

    /// What taps have found, once the step is answered.
    pub(super) fn take_taps(&mut self, model: &GpuModel) -> Vec<Tapped> {
        let rows = &self.rows;
        let found = self.taps.drain(..).map(|(tap, answer)| {
            let stride = model.row_stride(tap.buffer);
            let mut found = Vec::new();
            let read = answer.read(model.context(), |words, _| {
                let values: &[f32] = bytemuck::cast_slice(words);
                let row = |row: u32| values.get(row as usize * stride..(row as usize + 1) * stride);
                found = rows.iter().map(|at| at.and_then(row).unwrap_or_default().to_vec()).collect();
            });
            if let Err(error) = read {
                tracing::error!("{error}");
            }
            Tapped { label: tap.label, rows: found }
        });
        found.collect()
    }
}
