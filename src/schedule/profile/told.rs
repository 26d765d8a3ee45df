//! What [`advance`](crate::schedule::advance()) tells the profile: when a call begins and ends, what a step turns out to
//! do, and which layer is next.

use std::sync::atomic::Ordering::Relaxed;

use bevy_ecs::prelude::*;

use super::Profile;
use super::phase::Phase;
use crate::schedule::{Budget, Progress};

/// Calls `advance`, and puts the call into the timeline if there is one.
pub(in crate::schedule) fn call(
    world: &mut World,
    budget: Budget,
    advance: impl FnOnce(&mut World, Budget) -> Progress,
) -> Progress {
    let switch = world.resource::<Profile>().switch.clone();
    if !switch.records() {
        return advance(world, budget);
    }
    switch.recorder().begin_call(budget);
    let progress = advance(world, budget);
    switch.recorder().end_call(progress);
    progress
}

/// `BeginStep` has run, and the batch says what the step does: books what ran in it.
pub(in crate::schedule) fn begin_step(world: &World) {
    let profile = world.resource::<Profile>();
    let switch = &profile.switch;
    if !switch.is_on() {
        return;
    }
    let phase = Phase::of_step(world);
    switch.begin_step(phase);
    let mut recorder = switch.records().then(|| switch.recorder());
    if let Some(recorder) = &mut recorder {
        recorder.begin_step(world, phase);
    }
    for (row, run) in switch.held().drain(..) {
        profile.rows[row].meter.add(phase, &run);
        if let Some(recorder) = &mut recorder {
            recorder.add(row, None, &run);
        }
    }
}

/// What runs from here on passes over this layer.
pub(in crate::schedule) fn enter_layer(world: &World, index: usize) {
    world.resource::<Profile>().switch.layer.store(index, Relaxed);
}
