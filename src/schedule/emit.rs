//! The `Emit` set: records what was picked, sends it out, and ends the sequences that are done.

use bevy_ecs::prelude::*;

use super::finish::finish;
use super::sample::Picks;
use crate::world::batch::Batch;
use crate::world::sequence::{FinishReason, Running, TokenGenerated, Tokens};
use crate::world::transcript::Transcript;

/// Counts the rows of this step as processed.
pub fn count_processed(batch: Res<Batch>, mut sequences: Query<&mut Tokens>) {
    for span in &batch.spans {
        if let Ok(mut tokens) = sequences.get_mut(span.sequence) {
            tokens.processed += span.rows.len();
        }
    }
}

/// Appends each pick to its sequence, writes a [`TokenGenerated`], and finishes the sequence if a rule says so.
pub fn emit_picks(
    mut commands: Commands,
    mut picks: ResMut<Picks>,
    mut messages: MessageWriter<TokenGenerated>,
    mut sequences: Query<(&mut Tokens, &Running, Option<&mut Transcript>)>,
) {
    for (sequence, pick) in picks.0.drain(..) {
        let Ok((mut tokens, running, mut transcript)) = sequences.get_mut(sequence) else { continue };
        let mut reason = (running.room == 0).then_some(FinishReason::Length);
        if reason.is_none() {
            reason = match pick {
                None => Some(FinishReason::NonFinite),
                Some(id) => {
                    let index = tokens.generated.len();
                    tokens.generated.push(id);
                    let heard = transcript.as_mut().map(|transcript| transcript.push(id)).unwrap_or_default();
                    messages.write(TokenGenerated { sequence, index, id, text: heard.text });
                    if heard.stopped || running.end_tokens.contains(&id) {
                        Some(FinishReason::Stop)
                    } else {
                        (tokens.generated.len() >= running.room).then_some(FinishReason::Length)
                    }
                }
            };
        }
        if let Some(reason) = reason {
            let text = transcript.map(|mut transcript| transcript.finish()).unwrap_or_default();
            finish(&mut commands, sequence, reason, text);
        }
    }
}
