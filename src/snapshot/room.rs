//! Whether there is room for the caches of one sequence more.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use crate::world::cache::Caches;
use crate::world::conversation::Conversation;
use crate::world::limits::{CacheCost, Limits};
use crate::world::sequence::{Admitted, Running};
use crate::world::tokens::Tokens;

/// What holds caches, and on which model, if it says so.
type Holding<'w> = (&'w Tokens, Has<Conversation>, Option<&'w Running>, Option<&'w Admitted>);

/// Whether the caches of so many `positions` fit beside all that are there, without anyone giving up theirs.
pub(super) fn has_room(world: &mut World, model: Entity, talks: bool, positions: usize) -> bool {
    let Some(&cost) = world.get::<CacheCost>(model) else { return false };
    let limits = world.get_resource::<Limits>().copied().unwrap_or_default();
    let kept = limits.kept_states_of(talks);
    let mut bytes = cost.of_keeping(positions, kept);
    let (mut states, mut blocks) = (1 + kept, cost.blocks(positions));
    let mut holding = world.query_filtered::<Holding<'_>, (With<Caches>, Allow<Disabled>)>();
    for (tokens, talks, running, admitted) in holding.iter(world) {
        let on = running.map(|running| running.model).or(admitted.map(|admitted| admitted.model)).unwrap_or(model);
        let cost = world.get::<CacheCost>(on).copied().unwrap_or(cost);
        let kept = limits.kept_states_of(talks);
        bytes = bytes.saturating_add(cost.of_keeping(tokens.processed, kept));
        if on == model {
            states = states.saturating_add(1 + kept);
            blocks = blocks.saturating_add(cost.blocks(tokens.len()));
        }
    }
    bytes <= limits.cache_bytes.unwrap_or(u64::MAX) && states <= cost.most_sequences && blocks <= cost.most_blocks
}
