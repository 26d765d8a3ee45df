//! Where caches are kept to come back to, and where they are taken back: for every storage alike.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use crate::world::batch::Batch;
use crate::world::cache::{Caches, DeltaState, KvCache};
use crate::world::limits::Limits;
use crate::world::storage::Storage;
use crate::world::tokens::Tokens;

/// On a sequence whose caches hold more than they should: how many positions are to be left. Whoever keeps caches takes it up
/// before the next batch is filled.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBack(pub usize);

/// Part of the `Admit` set: takes caches back to as many positions as [`TakenBack`] says, or as few as they can then; those
/// between are read again.
pub fn take_back<S: Storage>(
    mut commands: Commands,
    mut sequences: Query<(Entity, &TakenBack, &Caches, &mut Tokens)>,
    mut delta_states: Query<&mut DeltaState<S>>,
    mut kv_caches: Query<&mut KvCache<S>>,
) {
    for (sequence, &TakenBack(wanted), caches, mut tokens) in &mut sequences {
        let is_ours = |cache: &Entity| delta_states.contains(*cache) || kv_caches.contains(*cache);
        if !caches.iter().any(|cache| is_ours(&cache)) {
            continue;
        }
        let states = caches.iter().filter_map(|cache| delta_states.get(cache).ok());
        let left = states.map(|state| state.nearest(wanted)).min().unwrap_or(wanted);
        for cache in caches.iter() {
            if let Ok(mut cache) = kv_caches.get_mut(cache) {
                cache.truncate(left);
            }
            let Ok(mut state) = delta_states.get_mut(cache) else { continue };
            if state.go_back(left).is_err() {
                // Nothing of it is left: it is filled as a new one is.
                commands.entity(cache).remove::<DeltaState<S>>();
            }
        }
        tokens.processed = left;
        commands.entity(sequence).remove::<TakenBack>();
    }
}

/// Part of the `Emit` set: has the states of conversations kept where their next turns may begin.
pub fn keep_states<S: Storage>(
    batch: Res<Batch>,
    limits: Res<Limits>,
    sequences: Query<(&Tokens, &Caches)>,
    mut delta_states: Query<&mut DeltaState<S>>,
) {
    for span in &batch.spans {
        let Ok((tokens, caches)) = sequences.get(span.sequence) else { continue };
        let reaches = |place| tokens.processed < place && place <= tokens.processed + span.rows.len();
        if !tokens.keep_at.is_some_and(reaches) {
            continue;
        }
        for cache in caches.iter() {
            if let Ok(mut state) = delta_states.get_mut(cache) {
                state.keep(limits.kept_states);
            }
        }
    }
}

/// Part of the `Emit` set: takes back the rows of guesses that were wrong, as if they had never been read.
pub fn take_back_drafts<S: Storage>(
    batch: Res<Batch>,
    sequences: Query<(&Tokens, &Caches), Allow<Disabled>>,
    mut delta_states: Query<&mut DeltaState<S>, Allow<Disabled>>,
    mut kv_caches: Query<&mut KvCache<S>, Allow<Disabled>>,
) {
    for span in batch.spans.iter().filter(|span| span.drafts > 0) {
        let Ok((tokens, caches)) = sequences.get(span.sequence) else { continue };
        for cache in caches.iter() {
            if let Ok(mut cache) = kv_caches.get_mut(cache) {
                cache.truncate(tokens.processed);
            }
            if let Ok(mut state) = delta_states.get_mut(cache)
                && let Err(error) = state.truncate(tokens.processed)
            {
                // No step has more guesses than it can take back.
                tracing::error!("{}: {error}", span.sequence);
            }
        }
    }
}

/// How many of `rows` that follow `processed` ones go together, so that what is kept of them can go back to `place`: not
/// beyond the next multiple of positions at which a delta net keeps its state.
pub(super) fn rows_to_keep(processed: usize, rows: usize, place: usize) -> usize {
    /// As for every storage; one short, since a state may count a row that is sent ahead.
    const CHUNK: usize = DeltaState::<crate::world::storage::Shapes>::CHUNK;
    let last = place / CHUNK * CHUNK + CHUNK - 1;
    if processed < place && place <= processed + rows { rows.min(last - processed) } else { rows }
}
