//! Drives the three schedules: one call takes a step, or as much of one as the budget allows.

use bevy_ecs::prelude::*;

use super::awaited::Awaited;
use super::budget::{Budget, Meter};
use super::profile;
use super::sets::{BeginStep, EndStep, LayerPass, LeaveStep, PollDevice};
use crate::checkpoint::ModelConfig;
use crate::world::batch::Batch;
use crate::world::cursor::{Cursor, HeadPiece};
use crate::world::layer::{ActiveLayer, LayerIndex};
use crate::world::model::{ActiveModel, Unavailable};
use crate::world::sequence::{Queued, Running, Tokens};

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
    /// A step is done: every sequence in its batch has moved on.
    StepDone,
}

/// Takes the world's sequences one step further: admits what is queued, passes over every layer of the model whose turn
/// it is, and picks the next tokens; or stops within the step when `budget` is spent. What is computed does not depend on
/// where it was cut.
///
/// A world without a model is [`Progress::Idle`]: what is queued waits for one to be loaded.
pub fn advance(world: &mut World, budget: Budget) -> Progress {
    super::install(world);
    profile::instrument(world);
    profile::call(world, budget, advance_within)
}

fn advance_within(world: &mut World, budget: Budget) -> Progress {
    let mut awaited = world.resource_mut::<Awaited>();
    awaited.may_wait = budget == Budget::Step;
    let awaited = *awaited;
    let mut meter = Meter::new(budget, awaited.piece);
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
        world.run_schedule(BeginStep);
        profile::begin_step(world);
        if world.resource::<Batch>().is_empty() {
            return if is_waited_for(world) { Progress::StepDone } else { Progress::Idle };
        }
        world.insert_resource(Cursor::Layer(0));
    }
    let Some((layers, vocab_size)) = active_model(world) else { return Progress::Idle };
    if let Cursor::Layer(next) = *world.resource::<Cursor>() {
        if !pass_over_layers(world, &layers, next, &mut meter) {
            world.run_schedule(LeaveStep);
            return Progress::Suspended;
        }
        let wanted = world.resource::<Batch>().logit_rows().count();
        world.insert_resource(Cursor::Head(HeadPiece::first(wanted, meter.head_slice(), vocab_size)));
    }
    run_head(world, &mut meter)
}

/// Gives up the step in hand, if there is one: what it computed is lost, and the next one begins where it did.
pub fn leave_step(world: &mut World) {
    world.insert_resource(Cursor::Begin);
    let piece = world.resource::<Awaited>().piece;
    world.insert_resource(Awaited { piece, ..Awaited::default() });
}

/// The layer entities of the step's model in order, and its vocabulary's size.
fn active_model(world: &mut World) -> Option<(Vec<Entity>, usize)> {
    let mut models = world.query_filtered::<(&Children, &ModelConfig), With<ActiveModel>>();
    let (children, config) = models.single(world).ok()?;
    let is_layer = |&child: &Entity| world.get::<LayerIndex>(child).is_some();
    Some((children.iter().filter(is_layer).collect(), config.vocab_size))
}

/// Whether a step that had nothing to compute leaves something for the next one.
fn is_waited_for(world: &mut World) -> bool {
    let runs =
        world.query_filtered::<&Tokens, With<Running>>().iter(world).any(|tokens| tokens.unread().next().is_some());
    let mut models = world.query_filtered::<&ModelConfig, Without<Unavailable>>();
    let has_model = models.iter(world).next().is_some();
    runs || has_model && world.query_filtered::<(), With<Queued>>().iter(world).next().is_some()
}

/// Whether it came to the end.
fn pass_over_layers(world: &mut World, layers: &[Entity], next: usize, meter: &mut Meter) -> bool {
    world.schedule_scope(LayerPass, |world, schedule| {
        for (index, &layer) in layers.iter().enumerate().skip(next) {
            if meter.is_spent() {
                world.insert_resource(Cursor::Layer(index));
                return false;
            }
            profile::enter_layer(world, index);
            world.entity_mut(layer).insert(ActiveLayer);
            schedule.run(world);
            world.entity_mut(layer).remove::<ActiveLayer>();
            meter.piece_done();
        }
        true
    })
}

/// From the logits to the end of the step, or as far as the budget and a device allow.
fn run_head(world: &mut World, meter: &mut Meter) -> Progress {
    world.schedule_scope(EndStep, |world, schedule| {
        loop {
            if meter.is_spent() {
                return Progress::Suspended;
            }
            schedule.run(world);
            meter.piece_done();
            match *world.resource::<Awaited>() {
                Awaited { failed: true, .. } => {
                    leave_step(world);
                    return Progress::StepDone;
                }
                Awaited { pending: true, .. } => return Progress::Waiting,
                Awaited { .. } => {}
            }
            let next = world.resource::<Cursor>().head().and_then(|piece| piece.next(meter.head_slice()));
            let Some(next) = next else {
                world.insert_resource(Cursor::Begin);
                return Progress::StepDone;
            };
            world.insert_resource(Cursor::Head(next));
        }
    })
}
