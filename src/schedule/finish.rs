//! The one way in which a sequence ends, whatever the reason; and the one in which it begins anew.

use bevy_ecs::prelude::*;

use crate::world::cache::Caches;
use crate::world::conversation::Conversation;
use crate::world::draft::{Draft, DraftsFor};
use crate::world::heard::{SequenceFinished, Spoken};
use crate::world::sequence::{Admitted, FinishReason, Finished, Queued, Running, Waits};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// Has a sequence give up its caches.
pub(super) fn forget(sequence: &mut EntityWorldMut<'_>) {
    if let Some(mut tokens) = sequence.get_mut::<Tokens>() {
        tokens.processed = 0;
    }
    sequence.despawn_related::<Caches>();
}

/// As [`forget`], when the system is through and if somebody who heard of an end has not despawned it by then.
pub(super) fn forget_later(commands: &mut Commands, sequence: Entity) {
    commands.entity(sequence).queue_silenced(|mut sequence: EntityWorldMut| forget(&mut sequence));
}

/// Has a running sequence give up its caches, wait, and read its tokens again.
pub fn read_again(sequence: &mut EntityWorldMut<'_>) {
    forget(sequence);
    sequence.remove::<(Running, Admitted)>().insert(Queued);
}

/// As [`read_again`], when the system is through.
pub(crate) fn read_again_later(commands: &mut Commands, sequence: Entity) {
    commands.entity(sequence).queue_silenced(|mut sequence: EntityWorldMut| read_again(&mut sequence));
}

/// Ends a sequence for `reason`: what was held back is certain now, and what it has said is its answer.
pub(super) fn finish(mut sequence: EntityWorldMut<'_>, reason: FinishReason) {
    if let Some(&DraftsFor { sequence: follows, .. }) = sequence.get() {
        // Nobody has asked for it, and the one that it follows goes on alone.
        tracing::warn!("{follows} goes on without guesses: {reason:?}");
        sequence.world_scope(|world| {
            world.get_entity_mut(follows).into_iter().for_each(|mut follows| _ = follows.remove::<Draft>());
        });
        return sequence.despawn();
    }
    let entity = sequence.id();
    let mut text = String::new();
    if let Some(mut transcript) = sequence.get_mut::<Transcript>() {
        text = transcript.finish();
        let answer = transcript.text().to_owned();
        let has_begun = sequence.get::<Tokens>().is_some_and(|tokens| !tokens.generated.is_empty());
        if let Some(mut conversation) = sequence.get_mut::<Conversation>().filter(|_| has_begun) {
            conversation.answer(answer);
        }
    }
    sequence.remove::<(Queued, Running, Waits)>().insert(Finished(reason.clone()));
    let finished = SequenceFinished { sequence: entity, reason, text };
    sequence.world_scope(|world| {
        if !finished.text.is_empty() {
            world.write_message(Spoken { sequence: entity, text: finished.text.clone() });
        }
        world.trigger(finished);
        // Whoever comes next sees what those who heard it did.
        world.flush();
    });
}

/// As [`finish`], when the system is through.
pub(super) fn finish_later(commands: &mut Commands, sequence: Entity, reason: FinishReason) {
    commands.entity(sequence).queue_silenced(|sequence: EntityWorldMut| finish(sequence, reason));
}
