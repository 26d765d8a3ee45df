//! The `Emit` set: records what was picked, sends it out, and ends the sequences that are done.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::{Allow, QueryData};

use super::finish::finish_later;
use super::sample::{Pick, Picks};
use crate::world::batch::Batch;
use crate::world::control::{Forgetful, Stop};
use crate::world::draft::{Drafted, Drafts, DraftsFor};
use crate::world::heard::{Spoken, TokenGenerated};
use crate::world::sampler::Sampler;
use crate::world::sequence::{FinishReason, Running};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// Counts the rows of this step as processed: those of tokens that their sequence has.
pub fn count_processed(batch: Res<Batch>, mut sequences: Query<&mut Tokens, Allow<Disabled>>) {
    for span in &batch.spans {
        if let Ok(mut tokens) = sequences.get_mut(span.sequence) {
            tokens.processed += span.certain();
        }
    }
}

/// What the end of a step asks of a sequence.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Picker {
    entity: Entity,
    tokens: &'static mut Tokens,
    running: &'static Running,
    sampler: Option<&'static mut Sampler>,
    transcript: Option<&'static mut Transcript>,
    stop: Option<&'static Stop>,
    forgets: Has<Forgetful>,
    drafting: Option<(&'static Drafted, &'static mut Drafts)>,
    drafts_for: Option<&'static DraftsFor>,
}

/// Appends each pick to its sequence, writes a [`TokenGenerated`] and, if text has become certain, a [`Spoken`], and finishes
/// the sequence if a rule says so. Of guesses, those count that were picked, and what was picked after the end does not.
pub fn emit_picks(
    mut commands: Commands,
    batch: Res<Batch>,
    mut picks: ResMut<Picks>,
    mut messages: MessageWriter<TokenGenerated>,
    mut spoken: MessageWriter<Spoken>,
    mut sequences: Query<Picker, Allow<Disabled>>,
) {
    let mut all = std::mem::take(&mut picks.0);
    for picks in all.chunk_by(|one, next| one.sequence == next.sequence) {
        let Ok(mut picker) = sequences.get_mut(picks[0].sequence) else { continue };
        let span = || batch.spans.iter().find(|span| span.sequence == picks[0].sequence);
        let span = picker.drafting.as_ref().and_then(|_| span());
        let drafts = span.map_or(&[][..], |span| batch.drafts_before(span, span.rows.end - 1));
        let (mut taken, mut reason) = (0, None);
        // A host may have changed a pick, and those after it were made for another.
        while reason.is_none()
            && let Some(pick) = picks.get(taken)
            && (taken == 0 || picker.tokens.generated.last() == drafts.get(taken - 1))
        {
            picker.tokens.processed += usize::from(taken > 0);
            reason = picker.take(pick, &mut messages, &mut spoken);
            taken += 1;
        }
        if let (Some(pick), Some(sampler)) = (picks.get(taken), &mut picker.sampler) {
            pick.undo(sampler);
        }
        picker.learn(drafts.len());
        let sequence = picker.entity;
        match reason {
            Some(FinishReason::Length) if picker.running.is_full_then && picker.forgets => {
                commands.entity(sequence).try_insert(super::full::Full);
            }
            Some(reason) => finish_later(&mut commands, sequence, reason),
            None => {}
        }
    }
    all.clear();
    picks.0 = all;
}

impl PickerItem<'_, '_> {
    /// Goes on with a pick, and says why the sequence ends with it, if it does.
    fn take(
        &mut self,
        pick: &Pick,
        messages: &mut MessageWriter<TokenGenerated>,
        spoken: &mut MessageWriter<Spoken>,
    ) -> Option<FinishReason> {
        let (sequence, running) = (self.entity, self.running);
        match (running.only_reads, running.room) {
            (true, _) => return Some(FinishReason::Read),
            (false, 0) => return Some(FinishReason::Length),
            _ => {}
        }
        if let Some(drafts_for) = self.drafts_for {
            // What it says is for the one that it follows, and nobody else.
            if self.tokens.generated.len() < drafts_for.wanted {
                self.tokens.generated.push(pick.token.unwrap_or_default());
            }
            return None;
        }
        let Some(id) = pick.token else {
            // Where a host has left nothing to pick, it may have said why.
            return Some(self.stop.map_or(FinishReason::NonFinite, |stop| stop.0.clone()));
        };
        let index = self.tokens.generated.len();
        self.tokens.generated.push(id);
        let heard = self.transcript.as_mut().map(|transcript| transcript.push(id)).unwrap_or_default();
        if !heard.text.is_empty() {
            spoken.write(Spoken { sequence, text: heard.text.clone() });
        }
        messages.write(TokenGenerated { sequence, index, id, text: heard.text });
        if heard.stopped || running.end_tokens.contains(&id) {
            return Some(FinishReason::Stop);
        }
        (self.tokens.generated.len() >= running.room).then_some(FinishReason::Length)
    }

    /// Notes what came of the guesses, of which so many were used.
    fn learn(&mut self, used: usize) {
        let Some((drafted, drafts)) = &mut self.drafting else { return };
        let tokens = &self.tokens;
        let followed = tokens.len().saturating_sub(drafted.after);
        drafts.passes += 1;
        drafts.drafted += used as u64;
        if (1..=used + 1).contains(&followed) {
            drafts.accepted += (followed - 1) as u64;
            drafts.learn(drafted, tokens.iter().skip(drafted.after));
        }
    }
}
