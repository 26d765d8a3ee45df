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
    let states = |talks: bool| 1 + if talks { limits.kept_states } else { 0 };
    let of = |cost: &CacheCost, positions: usize, talks: bool| {
        cost.of(positions).saturating_add(cost.fixed.saturating_mul(states(talks) as u64 - 1))
    };
    let mut bytes = of(&cost, positions, talks);
    let (mut sequences, mut blocks) = (states(talks), cost.blocks(positions));
    let mut holding = world.query_filtered::<Holding<'_>, (With<Caches>, Allow<Disabled>)>();
    for (tokens, talks, running, admitted) in holding.iter(world) {
        let on = running.map(|running| running.model).or(admitted.map(|admitted| admitted.model)).unwrap_or(model);
        let cost = world.get::<CacheCost>(on).copied().unwrap_or(cost);
        bytes = bytes.saturating_add(of(&cost, tokens.processed, talks));
        if on == model {
            sequences = sequences.saturating_add(states(talks));
            blocks = blocks.saturating_add(cost.blocks(tokens.len()));
        }
    }
    bytes <= limits.cache_bytes.unwrap_or(u64::MAX) && sequences <= cost.most_sequences && blocks <= cost.most_blocks
}
