//! The one way in which a sequence ends, whatever the reason.

use bevy_ecs::prelude::*;

use crate::world::sequence::{FinishReason, Finished, Queued, Running, SequenceFinished};

/// Ends a sequence for `reason`; `text` was held back and is certain now.
pub(super) fn finish(commands: &mut Commands, sequence: Entity, reason: FinishReason, text: String) {
    commands.entity(sequence).remove::<(Queued, Running)>().insert(Finished(reason.clone()));
    commands.trigger(SequenceFinished { sequence, reason, text });
}
