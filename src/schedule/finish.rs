//! The one way in which a sequence ends, whatever the reason; and the one in which it begins anew.

use bevy_ecs::prelude::*;

use crate::world::cache::Caches;
use crate::world::sequence::{Admitted, FinishReason, Finished, Queued, Running, SequenceFinished, Tokens};

/// Has a running sequence give up its caches, wait, and read its tokens again.
pub fn read_again(sequence: &mut EntityWorldMut<'_>) {
    if let Some(mut tokens) = sequence.get_mut::<Tokens>() {
        tokens.processed = 0;
    }
    sequence.remove::<(Running, Admitted)>().insert(Queued).despawn_related::<Caches>();
}

/// Ends a sequence for `reason`; `text` was held back and is certain now.
pub(super) fn finish(commands: &mut Commands, sequence: Entity, reason: FinishReason, text: String) {
    commands.entity(sequence).remove::<(Queued, Running)>().insert(Finished(reason.clone()));
    commands.trigger(SequenceFinished { sequence, reason, text });
}
