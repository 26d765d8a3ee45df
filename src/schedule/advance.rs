//! Drives the three schedules: one call takes a step, or as much of one as the budget allows.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::awaited::Awaited;
use super::budget::{Budget, Meter};
use super::pace::{HEAD_SLICE, Pace, Piece, Work};
use super::profile;
use super::requests::ToldAtRest;
use super::sets::{BeginStep, EndStep, LayerPass, LeaveStep, PollDevice};
use crate::checkpoint::ModelConfig;
use crate::world::batch::Batch;
use crate::world::control::{ForkOf, Paused};
use crate::world::cursor::{Cursor, Cut, HeadPiece};
use crate::world::draft::SitsOut;
use crate::world::layer::{ActiveLayer, layers_of};
use crate::world::model::{ActiveModel, HeadRows, Unavailable};
use crate::world::sequence::{Finished, Queued, Running, Waits};
use crate::world::tokens::Tokens;

/// Where [`advance`] left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// No sequence wants anything.
    Idle,
    /// The budget is spent inside a step; the next call goes on from there.
    Suspended,
    /// A device has been told what to do and has not answered yet: there is nothing to do before it has.
    Waiting,
    /// A step is done, or several in a budget of time: every sequence in their batches has moved on.
    StepDone,
}

/// Takes the world's sequences further: admits what is queued, passes over every layer of the model whose turn it is, and
/// picks the next tokens; a step, or as much of one or as many as the `budget` allows. What is computed does not depend on where
/// it was cut.
///
/// A world without a model, or with one that is still loading, is [`Progress::Idle`]: what is queued waits for it.
pub fn advance(world: &mut World, budget: Budget) -> Progress {
    super::install(world);
    profile::instrument(world);
    profile::call(world, budget, advance_within)
}

fn advance_within(world: &mut World, budget: Budget) -> Progress {
    let mut awaited = world.resource_mut::<Awaited>();
    awaited.may_wait = budget == Budget::Step;
    let mut meter = Meter::new(budget, awaited.piece);
    world.resource_mut::<Pace>().piece = meter.piece();
    let mut done = false;
    loop {
        match go_on(world, &mut meter) {
            Progress::StepDone if meter.outlasts_steps() => {
                done = true;
                if meter.is_spent(world.resource::<Pace>().expected(Piece::Begin, Work::default())) {
                    return Progress::StepDone;
                }
            }
            // What came of the steps before is for the host to look at first.
            Progress::Idle if done => return Progress::StepDone,
            progress => return progress,
        }
    }
}

/// To the end of the step, or as far as the budget and a device allow.
fn go_on(world: &mut World, meter: &mut Meter) -> Progress {
    let awaited = *world.resource::<Awaited>();
    if awaited.busy && !awaited.may_wait {
        world.run_schedule(PollDevice);
        let awaited = world.resource::<Awaited>();
        if awaited.busy && !awaited.failed {
            return Progress::Waiting;
        }
    }
    if *world.resource::<Cursor>() != Cursor::Begin && active_model(world).is_none() {
        // The step's model was despawned; its sequences learn of it when the next step begins.
        leave_step(world);
    }
    if *world.resource::<Cursor>() == Cursor::Begin {
        meter.lap();
        let running = count_running(world);
        world.run_schedule(BeginStep);
        profile::begin_step(world);
        let batch = world.resource::<Batch>();
        let work = Work { rows: batch.len(), depth: batch.positions.iter().map(|&position| position as usize).sum() };
        if work.rows == 0 {
            // Whoever has ended instead has left room for those that wait.
            let has_more = is_waited_for(world) || count_running(world) < running;
            return if has_more { Progress::StepDone } else { Progress::Idle };
        }
        let mut pace = world.resource_mut::<Pace>();
        pace.begin_step(work);
        let took = meter.lap();
        pace.spend(took);
        pace.record(Piece::Begin, Work::default(), took);
        world.insert_resource(Cursor::Layer(0));
    }
    let Some(active) = active_model(world) else { return Progress::Idle };
    if let Cursor::Layer(next) = *world.resource::<Cursor>() {
        if !pass_over_layers(world, &active, next, meter) {
            world.run_schedule(LeaveStep);
            return Progress::Suspended;
        }
        let wanted = world.resource::<Batch>().logit_rows().count();
        let cut = active.cut(world, meter, wanted);
        world.insert_resource(Cursor::Head(HeadPiece::first(wanted, active.vocab_size, cut)));
    }
    run_head(world, &active, meter)
}

/// Gives up the step in hand, if there is one: what it computed is lost, and the next one begins where it did.
pub fn leave_step(world: &mut World) {
    world.insert_resource(Cursor::Begin);
    let piece = world.resource::<Awaited>().piece;
    world.insert_resource(Awaited { piece, ..Awaited::default() });
}

/// The model of the step in hand.
struct Active {
    model: Entity,
    /// In order, with what passing over them is.
    layers: Vec<(Entity, Piece)>,
    vocab_size: usize,
}

fn active_model(world: &mut World) -> Option<Active> {
    type Computes<'w> = (Entity, &'w ModelConfig, Option<&'w HeadRows>);
    let mut models = world.query_filtered::<Computes, (With<ActiveModel>, With<Children>)>();
    let (model, config, head) = models.single(world).ok()?;
    let vocab_size = head.map_or(config.vocab_size, |head| head.0);
    let layers = layers_of(world, model).into_iter();
    let layers = layers.zip(&config.layer_types).map(|(layer, &mixes)| (layer, Piece::Layer(model, mixes)));
    Some(Active { model, layers: layers.collect(), vocab_size })
}

impl Active {
    /// How much of the end of the step a piece may have.
    fn cut(&self, world: &World, meter: &Meter, rows: usize) -> Cut {
        /// Slices are whole panels of any kernel, and long enough that what surrounds them costs little.
        const LEAST: usize = 1024;
        if meter.is_unlimited() {
            return Cut::Whole;
        }
        let pace = world.resource::<Pace>();
        let (rows, slice) = (Work::of_rows(rows), HEAD_SLICE / rows.clamp(1, HEAD_SLICE / LEAST));
        let Some(expected) = pace.expected(Piece::Head(self.model), rows) else {
            return Cut::Slices { head: slice, picks: 1 };
        };
        let Some(limit) = pace.piece else { return Cut::Slices { head: HEAD_SLICE, picks: usize::MAX } };
        let head = (HEAD_SLICE as f64 * limit.as_secs_f64() / expected.max(1e-9)) as usize;
        let picks = pace.expected(Piece::Pick(self.model), Work::of_rows(1));
        let picks = picks.map_or(1, |expected| (limit.as_secs_f64() / expected.max(1e-9)) as usize);
        Cut::Slices { head: (head / LEAST * LEAST).clamp(LEAST, 16 * HEAD_SLICE), picks: picks.max(1) }
    }

    /// What a piece of the end of the step is expected to take.
    fn expected(&self, world: &World, piece: &HeadPiece) -> Option<f64> {
        let pace = world.resource::<Pace>();
        let rows = Work::of_rows(piece.rows());
        let head = pace.expected(Piece::Head(self.model), rows);
        let pick = pace.expected(Piece::Pick(self.model), Work::of_rows(1));
        let head = head.map(|slice| slice * piece.slice().len() as f64 / HEAD_SLICE as f64);
        Some(head.filter(|_| piece.rows() > 0).unwrap_or(0.0) + pick.unwrap_or(0.0) * piece.picks().len() as f64)
    }

    /// Notes what it took.
    fn record(&self, world: &mut World, piece: &HeadPiece, took: f64) {
        let mut pace = world.resource_mut::<Pace>();
        pace.spend(took);
        match (piece.slice().len(), piece.picks().len()) {
            _ if piece.rows() == 0 => {}
            (slice @ 1.., 0) => {
                let took = took * HEAD_SLICE as f64 / slice as f64;
                pace.record(Piece::Head(self.model), Work::of_rows(piece.rows()), took);
            }
            (0, picks @ 1..) => {
                pace.record(Piece::Pick(self.model), Work::of_rows(1), took / picks as f64);
            }
            _ => {}
        }
    }
}

fn count_running(world: &mut World) -> usize {
    world.query_filtered::<(), (With<Running>, Allow<Disabled>)>().iter(world).count()
}

/// Whether a step that had nothing to compute leaves something for the next one.
fn is_waited_for(world: &mut World) -> bool {
    let mut running = world.query_filtered::<(&Tokens, Option<&SitsOut>), (With<Running>, Without<Paused>)>();
    let goes_on = |(tokens, sits_out): (&Tokens, Option<&SitsOut>)| {
        tokens.unread().next().is_some() && !sits_out.is_some_and(|sits_out| sits_out.0)
    };
    if running.iter(world).any(goes_on) {
        return true;
    }
    let mut models = world.query_filtered::<&ModelConfig, Without<Unavailable>>();
    if models.iter(world).next().is_none() {
        return false;
    }
    let mut told = world.query_filtered::<Has<Waits>, (ToldAtRest, Without<Paused>)>();
    let mut queued = world.query_filtered::<(Option<&ForkOf>, Has<Waits>), (With<Queued>, Without<Paused>)>();
    // A fork waits for others, and is no reason to go on unless they are ready for it.
    let is_ready = |of: &ForkOf| {
        let tokens = world.get::<Tokens>(of.0);
        tokens.is_none_or(Tokens::has_read_prompt) || world.get::<Finished>(of.0).is_some()
    };
    // Others that wait for what nobody will give them are none either.
    let goes_on = |(of, waits): (Option<&ForkOf>, bool)| of.map_or(!waits, is_ready);
    told.iter(world).any(|waits| !waits) || queued.iter(world).any(goes_on)
}

/// Whether it came to the end.
fn pass_over_layers(world: &mut World, active: &Active, next: usize, meter: &mut Meter) -> bool {
    let work = world.resource::<Pace>().work;
    world.schedule_scope(LayerPass, |world, schedule| {
        for (index, &(layer, piece)) in active.layers.iter().enumerate().skip(next) {
            if meter.is_spent(world.resource::<Pace>().expected(piece, work)) {
                world.insert_resource(Cursor::Layer(index));
                return false;
            }
            profile::enter_layer(world, index);
            meter.lap();
            world.entity_mut(layer).insert(ActiveLayer);
            schedule.run(world);
            world.entity_mut(layer).remove::<ActiveLayer>();
            meter.piece_done();
            let (took, mut pace) = (meter.lap(), world.resource_mut::<Pace>());
            pace.spend(took);
            pace.record(piece, work, took);
        }
        true
    })
}

/// From the logits to the end of the step, or as far as the budget and a device allow.
fn run_head(world: &mut World, active: &Active, meter: &mut Meter) -> Progress {
    world.schedule_scope(EndStep, |world, schedule| {
        loop {
            let Some(piece) = world.resource::<Cursor>().head().cloned() else { return Progress::StepDone };
            if meter.is_spent(active.expected(world, &piece)) {
                return Progress::Suspended;
            }
            meter.lap();
            schedule.run(world);
            meter.piece_done();
            active.record(world, &piece, meter.lap());
            match *world.resource::<Awaited>() {
                Awaited { failed: true, .. } => {
                    leave_step(world);
                    return Progress::StepDone;
                }
                Awaited { pending: true, .. } => return Progress::Waiting,
                Awaited { .. } => {}
            }
            let Some(next) = piece.next(active.cut(world, meter, piece.rows())) else {
                let batch = world.resource::<Batch>();
                // Without prompts, whose rows have no logits.
                if batch.logit_rows().count() == batch.len() {
                    world.resource_mut::<Pace>().end_step(active.model);
                }
                world.insert_resource(Cursor::Begin);
                return Progress::StepDone;
            };
            world.insert_resource(Cursor::Head(next));
        }
    })
}
