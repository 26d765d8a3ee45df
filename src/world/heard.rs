//! What a host hears of sequences.

use bevy_ecs::lifecycle::HookContext;
use bevy_ecs::prelude::*;
use bevy_ecs::world::DeferredWorld;

use super::draft::DraftsFor;
use super::status::{FinishReason, Queued, Running};
use super::transcript::Transcript;

/// A token was picked. Read with a `MessageReader`, or drained from `Messages<TokenGenerated>`.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct TokenGenerated {
    /// The sequence it continues.
    pub sequence: Entity,
    /// Its place among the new tokens, from 0.
    pub index: usize,
    /// The token's id.
    pub id: u32,
    /// The text that is now certain, if the model has a tokenizer: whole characters only, and nothing that a stop text
    /// may still claim.
    pub text: String,
}

/// Text became certain, if the model has a tokenizer: whole characters only, and nothing that a stop text may still claim. All
/// of these together are what a sequence says, what was held back until its end included.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Who says it.
    pub sequence: Entity,
    /// What, never empty.
    pub text: String,
}

/// A sequence ended. Triggered on the sequence, for observers.
#[derive(EntityEvent, Clone, Debug, PartialEq, Eq)]
pub struct SequenceFinished {
    /// The sequence.
    #[event_target]
    pub sequence: Entity,
    /// Why it ended.
    pub reason: FinishReason,
    /// Text that was held back and is certain now. It was sent as [`Spoken`] as well.
    pub text: String,
}

/// Tells of a sequence that is despawned before it has ended.
pub(super) fn despawned(mut world: DeferredWorld<'_>, HookContext { entity: sequence, .. }: HookContext) {
    let entity = world.entity(sequence);
    let is_under_way = entity.contains::<Running>() || entity.contains::<Queued>();
    if !is_under_way || entity.contains::<DraftsFor>() {
        return;
    }
    let text = entity.get::<Transcript>().map(|transcript| transcript.clone().finish()).unwrap_or_default();
    if !text.is_empty() {
        world.write_message(Spoken { sequence, text: text.clone() });
    }
    world.trigger(SequenceFinished { sequence, reason: FinishReason::Cancelled, text });
}
