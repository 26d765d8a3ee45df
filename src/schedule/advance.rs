//! Drives the three schedules: one call takes a step, or as much of one as the budget allows.

use std::ops::Range;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;

use super::profile;
use super::sets::{BeginStep, EndStep, LayerPass};
use crate::checkpoint::ModelConfig;
use crate::world::batch::{Batch, Span};
use crate::world::layer::{ActiveLayer, LayerIndex};

/// How much [`advance`] may do before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// To the end of the step.
    Step,
    /// As many pieces (layers, slices of the head) as are expected to fit, judged by the piece before; at least one.
    Time(Duration),
    /// This many pieces, at least one.
    Pieces(usize),
}

/// Where [`advance`] left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No sequence wants anything.
    Idle,
    /// The budget is spent inside a step; the next call goes on from there.
    Suspended,
    /// A step is done: every sequence in its batch has moved on.
    StepDone,
}

/// Where in the step we are. What makes a step interruptible.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// Between two steps: caches are whole, and a sequence may be cloned or despawned freely.
    #[default]
    Begin,
    /// This layer is next.
    Layer(usize),
    /// These logits are next.
    Head {
        /// Of which of [`Batch::logit_rows`]: all, or a group of them where they are many.
        group: Range<usize>,
        /// Whether it is the last group.
        last_group: bool,
        /// By which rows of the head matrix.
        rows: Range<usize>,
        /// Where the last slice ends.
        vocab_size: usize,
    },
}

impl Cursor {
    /// The rows of `batch` whose logits `Head` computes now: row `i` of the logits is the `i`-th of these.
    pub fn logit_rows<'b>(&self, batch: &'b Batch) -> impl Iterator<Item = (&'b Span, usize)> + use<'b> {
        let group = if let Self::Head { group, .. } = self { group.clone() } else { 0..0 };
        batch.logit_rows().skip(group.start).take(group.len())
    }

    /// A condition for `Sample`: the slice of the head just computed was the last for this group of rows.
    #[must_use]
    pub fn logits_are_complete(cursor: Res<Self>) -> bool {
        matches!(&*cursor, Self::Head { rows, vocab_size, .. } if rows.end == *vocab_size)
    }

    /// A condition for `Emit`: besides, there are no more rows whose logits are wanted.
    #[must_use]
    pub fn head_is_complete(cursor: Res<Self>) -> bool {
        matches!(&*cursor, Self::Head { last_group: true, rows, vocab_size, .. } if rows.end == *vocab_size)
    }

    /// The logits of the next group of rows, from the one at `start` on.
    fn head_from(start: usize, world: &World, meter: &Meter) -> Self {
        let wanted = world.resource::<Batch>().logit_rows().count();
        let group = start..wanted.min(start + HEAD_GROUP);
        let vocab_size = vocab_size(world);
        // In the middle of a prompt no logits are wanted, and the head has nothing to slice.
        let rows = 0..if group.is_empty() { vocab_size } else { meter.head_slice(vocab_size) };
        Self::Head { last_group: group.end == wanted, group, rows, vocab_size }
    }
}

/// Rows whose logits are computed and kept at once, at most: 64 MB of them with a vocabulary of 248 320, while reading
/// the head matrix anew costs little beside multiplying by it so often.
const HEAD_GROUP: usize = 64;

/// Rows of the head matrix in one piece: about as many weights as a layer of the 0.8B shape has, 16 384 × 1024 beside
/// 21 million, so that pieces take similar times.
const HEAD_SLICE: usize = 16_384;

/// The model entity that [`advance`] runs; set by loading.
#[derive(Resource, Clone, Copy, Debug)]
pub struct LoadedModel(pub Entity);

/// Takes the world's sequences one step further: admits what is queued, passes over every layer, and picks the next
/// tokens; or stops within the step when `budget` is spent. What is computed does not depend on where it was cut.
///
/// A world without a model is [`Progress::Idle`].
pub fn advance(world: &mut World, budget: Budget) -> Progress {
    let Some(layers) = layers(world) else { return Progress::Idle };
    profile::instrument(world);
    let mut meter = Meter::new(budget);
    if *world.resource::<Cursor>() == Cursor::Begin {
        world.run_schedule(BeginStep);
        if world.resource::<Batch>().is_empty() {
            return Progress::Idle;
        }
        world.insert_resource(Cursor::Layer(0));
    }
    if let Cursor::Layer(next) = *world.resource::<Cursor>()
        && pass_over_layers(world, &layers, next, &mut meter) == Progress::Suspended
    {
        return Progress::Suspended;
    }
    run_head(world, &mut meter)
}

/// The layer entities in order.
fn layers(world: &World) -> Option<Vec<Entity>> {
    let model = world.get_resource::<LoadedModel>()?.0;
    let children = world.get::<Children>(model)?;
    Some(children.iter().filter(|&child| world.get::<LayerIndex>(child).is_some()).collect())
}

fn pass_over_layers(world: &mut World, layers: &[Entity], next: usize, meter: &mut Meter) -> Progress {
    world.schedule_scope(LayerPass, |world, schedule| {
        for (index, &layer) in layers.iter().enumerate().skip(next) {
            if meter.is_spent() {
                world.insert_resource(Cursor::Layer(index));
                return Progress::Suspended;
            }
            world.entity_mut(layer).insert(ActiveLayer);
            schedule.run(world);
            world.entity_mut(layer).remove::<ActiveLayer>();
            meter.piece_done();
        }
        world.insert_resource(Cursor::head_from(0, world, meter));
        Progress::StepDone
    })
}

fn run_head(world: &mut World, meter: &mut Meter) -> Progress {
    world.schedule_scope(EndStep, |world, schedule| {
        loop {
            if meter.is_spent() {
                return Progress::Suspended;
            }
            schedule.run(world);
            meter.piece_done();
            match world.resource::<Cursor>().clone() {
                Cursor::Head { group, last_group, rows, vocab_size } if rows.end < vocab_size => {
                    let rows = rows.end..vocab_size.min(rows.end + meter.head_slice(vocab_size));
                    world.insert_resource(Cursor::Head { group, last_group, rows, vocab_size });
                }
                Cursor::Head { group, last_group: false, .. } => {
                    world.insert_resource(Cursor::head_from(group.end, world, meter));
                }
                _ => {
                    world.insert_resource(Cursor::Begin);
                    return Progress::StepDone;
                }
            }
        }
    })
}

fn vocab_size(world: &World) -> usize {
    let model = world.resource::<LoadedModel>().0;
    world.get::<ModelConfig>(model).map_or(0, |config| config.vocab_size)
}

/// Holds a call of [`advance`] to its budget.
struct Meter {
    budget: Budget,
    started: Instant,
    pieces: usize,
    last_piece: Instant,
    cost: Duration,
}

impl Meter {
    fn new(budget: Budget) -> Self {
        let started = Instant::now();
        Self { budget, started, pieces: 0, last_piece: started, cost: Duration::ZERO }
    }

    fn piece_done(&mut self) {
        let now = Instant::now();
        self.cost = now - self.last_piece;
        self.last_piece = now;
        self.pieces += 1;
    }

    fn is_spent(&self) -> bool {
        self.pieces > 0
            && match self.budget {
                Budget::Step => false,
                Budget::Time(limit) => self.last_piece + self.cost > self.started + limit,
                Budget::Pieces(limit) => self.pieces >= limit,
            }
    }

    /// How many rows of the head to compute at once; all, where nothing may interrupt.
    fn head_slice(&self, vocab_size: usize) -> usize {
        match self.budget {
            Budget::Step => vocab_size,
            Budget::Time(_) | Budget::Pieces(_) => HEAD_SLICE.min(vocab_size),
        }
    }
}
