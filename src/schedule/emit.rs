//! The `Emit` set: records what was picked, sends it out, and ends the sequences that are done.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::finish::finish_later;
use super::sample::Picks;
use crate::world::batch::Batch;
use crate::world::control::{Forgetful, Stop};
use crate::world::heard::{Spoken, TokenGenerated};
use crate::world::sequence::{FinishReason, Running};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// Counts the rows of this step as processed.
pub fn count_processed(batch: Res<Batch>, mut sequences: Query<&mut Tokens, Allow<Disabled>>) {
    for span in &batch.spans {
        if let Ok(mut tokens) = sequences.get_mut(span.sequence) {
            tokens.processed += span.rows.len();
        }
    }
}

/// What the end of a step asks of a sequence.
type Picker<'w> = (&'w mut Tokens, &'w Running, Option<&'w mut Transcript>, Option<&'w Stop>, Has<Forgetful>);

/// Appends each pick to its sequence, writes a [`TokenGenerated`] and, if text has become certain, a [`Spoken`], and finishes
/// the sequence if a rule says so.
pub fn emit_picks(
    mut commands: Commands,
    mut picks: ResMut<Picks>,
    mut messages: MessageWriter<TokenGenerated>,
    mut spoken: MessageWriter<Spoken>,
    mut sequences: Query<Picker, Allow<Disabled>>,
) {
    for (sequence, pick) in picks.0.drain(..) {
        let Ok((mut tokens, running, transcript, stop, forgets)) = sequences.get_mut(sequence) else { continue };
        let mut reason = match (running.only_reads, running.room) {
            (true, _) => Some(FinishReason::Read),
            (false, 0) => Some(FinishReason::Length),
            _ => None,
        };
        if reason.is_none() {
            reason = match pick {
                // Where a host has left nothing to pick, it may have said why.
                None => Some(stop.map_or(FinishReason::NonFinite, |stop| stop.0.clone())),
                Some(id) => {
                    let index = tokens.generated.len();
                    tokens.generated.push(id);
                    let heard = transcript.map(|mut transcript| transcript.push(id)).unwrap_or_default();
                    if !heard.text.is_empty() {
                        spoken.write(Spoken { sequence, text: heard.text.clone() });
                    }
                    messages.write(TokenGenerated { sequence, index, id, text: heard.text });
                    if heard.stopped || running.end_tokens.contains(&id) {
                        Some(FinishReason::Stop)
                    } else {
                        (tokens.generated.len() >= running.room).then_some(FinishReason::Length)
                    }
                }
            };
        }
        match reason {
            Some(FinishReason::Length) if running.is_full_then && forgets => {
                commands.entity(sequence).try_insert(super::full::Full);
            }
            Some(reason) => finish_later(&mut commands, sequence, reason),
            None => {}
        }
    }
}
