//! The `Admit` set: takes in queued sequences, then fills the batch with the rows of this step.

use bevy_ecs::prelude::*;

use crate::checkpoint::ModelConfig;
use crate::world::batch::{Batch, MaxRows};
use crate::world::cache::{OfLayer, OfSequence};
use crate::world::layer::LayerIndex;
use crate::world::sequence::{
    FinishReason, Finished, LogitsFrom, Prompt, Queued, Running, SequenceFinished, StopRules, Tokens,
};

/// Gives every queued sequence its cache entities, one per layer, or refuses it. What is in a cache is the backend's
/// business: it fills in those that are new.
pub fn admit_queued(
    mut commands: Commands,
    model: Single<(&ModelConfig, &Children)>,
    layers: Query<Entity, With<LayerIndex>>,
    queued: Query<(Entity, &Prompt, &StopRules), With<Queued>>,
) {
    let (config, children) = *model;
    for (sequence, prompt, rules) in &queued {
        let room = match rules.room(&prompt.0, config) {
            Ok(room) => room,
            Err(refusal) => {
                let reason = FinishReason::Refused(refusal);
                commands.entity(sequence).remove::<Queued>().insert(Finished(reason.clone()));
                commands.trigger(SequenceFinished { sequence, reason, text: String::new() });
                continue;
            }
        };
        for layer in children.iter().filter(|&child| layers.contains(child)) {
            commands.spawn((OfSequence(sequence), OfLayer(layer)));
        }
        commands.entity(sequence).remove::<Queued>().insert(Running { room });
    }
}

/// Fills the batch: one row of each sequence that is generating, then chunks of the prompts still to be read, up to
/// [`MaxRows`] in all but always at least one row, so that prompts cannot starve.
pub fn fill_batch(
    mut batch: ResMut<Batch>,
    max_rows: Res<MaxRows>,
    running: Query<(Entity, &Prompt, &Tokens, Option<&LogitsFrom>), With<Running>>,
) {
    batch.clear();
    let (generating, reading): (Vec<_>, Vec<_>) =
        running.iter().partition(|(_, prompt, tokens, _)| tokens.processed >= prompt.0.len());
    for (sequence, prompt, tokens, _) in generating {
        let pending = &tokens.generated[tokens.processed - prompt.0.len()..];
        let last = prompt.0.len() + tokens.generated.len() - 1;
        batch.push(sequence, pending.iter().copied(), tokens.processed, last, true);
    }
    let mut space = max_rows.0.saturating_sub(batch.len()).max(1);
    for (sequence, prompt, tokens, logits_from) in reading {
        let unread = &prompt.0[tokens.processed..];
        let count = unread.len().min(space);
        if count == 0 {
            break;
        }
        let last = prompt.0.len() - 1;
        let logits_from = logits_from.map_or(last, |from| from.0.min(last));
        let picks = count == unread.len();
        batch.push(sequence, unread[..count].iter().copied(), tokens.processed, logits_from, picks);
        space -= count;
    }
}
