//! What a step waits for: the answer of a device that computes beside the host.

use std::time::Duration;

use bevy_ecs::prelude::*;

/// Whether a device owes the step in hand something. A backend that computes on the spot leaves it alone.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// What was sent has not been answered: set by who sends, cleared in `Await`.
    pub pending: bool,
    /// Work is with a device that has not said that it is done: no more is sent to it within a budget of time.
    pub busy: bool,
    /// What a piece of a step (a layer, the head) takes on a device, as measured; nothing, where it is computed on the spot.
    pub piece: Duration,
    /// Whether the call may wait for it, or has to come back later.
    pub may_wait: bool,
    /// The device can do no more, and the step is given up: set in `Await`.
    pub failed: bool,
}

impl Awaited {
    /// A condition for the sets that need the answer.
    #[must_use]
    pub fn is_answered(awaited: Res<Self>) -> bool {
        !awaited.pending && !awaited.failed
    }

    /// A condition for those that come before.
    #[must_use]
    pub fn is_unasked(awaited: Res<Self>) -> bool {
        !awaited.pending
    }
}
