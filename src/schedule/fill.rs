//! The second half of the `Admit` set: whose turn it is. A step runs one model; its rows are one of each sequence that
//! generates, and then chunks of the prompts still to be read, all within [`Limits`].

use bevy_ecs::prelude::*;

use super::finish::{finish, read_again};
use crate::checkpoint::ModelConfig;
use crate::world::batch::Batch;
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::{ActiveModel, OnModel};
use crate::world::sequence::{Arrival, FinishReason, LogitsFrom, Running, Tokens};

/// On a model entity: whose turn it was.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Turn {
    /// The number of the last step that ran this model.
    step: u64,
    /// The last sequence that was given a row, where there were too few for all that generate.
    served: Option<(Arrival, Entity)>,
    /// Whether the last step read a prompt, where there is only one row.
    read: bool,
}

/// Marks the model that has waited longest of those that have a sequence running, the first to arrive before others.
pub fn choose_model(
    mut commands: Commands,
    mut batch: ResMut<Batch>,
    mut models: Query<&mut Turn, With<ModelConfig>>,
    active: Query<Entity, With<ActiveModel>>,
    running: Query<(&Running, &Arrival)>,
    mut step: Local<u64>,
) {
    batch.clear();
    let turns = running.iter().filter_map(|(running, arrival)| {
        let turn = models.get(running.model).ok()?;
        Some((turn.step, *arrival, running.model))
    });
    let Some((_, _, chosen)) = turns.min() else { return };
    *step += 1;
    if let Ok(mut turn) = models.get_mut(chosen) {
        turn.step = *step;
    }
    if !active.contains(chosen) {
        active.iter().for_each(|model| _ = commands.entity(model).remove::<ActiveModel>());
        commands.entity(chosen).insert(ActiveModel);
    }
}

/// A sequence that runs, as far as filling a batch looks at it.
struct Runner {
    arrival: (Arrival, Entity),
    model: Entity,
    processed: usize,
    unread: usize,
    /// How many of them a chunk may have: those of the prompt, or those of generated tokens that are read again. A backend
    /// may compute one and the other by different kernels, and what comes of a row must not depend on its step.
    alike: usize,
}

/// Fills the batch with rows of the active model. Those that have one token to go come first; what is left goes to longer
/// prompts, for which a row is kept, so that they cannot starve.
pub fn fill_batch(
    mut commands: Commands,
    limits: Res<Limits>,
    mut batch: ResMut<Batch>,
    active: OnModel<(Entity, &mut Turn)>,
    costs: Query<&CacheCost>,
    running: Query<(Entity, &Arrival, &Tokens, &Running, Option<&LogitsFrom>)>,
) {
    let (model, mut turn) = active.into_inner();
    let mut runners: Vec<Runner> = running
        .iter()
        .map(|(sequence, &arrival, tokens, running, _)| Runner {
            arrival: (arrival, sequence),
            model: running.model,
            processed: tokens.processed,
            unread: tokens.len() - tokens.processed,
            alike: match tokens.prompt.len().checked_sub(tokens.processed) {
                Some(rows @ 1..) => rows,
                _ => tokens.len() - tokens.processed,
            },
        })
        .collect();
    runners.sort_unstable_by_key(|runner| runner.arrival);
    let chosen = loop {
        let (chosen, next) = share_rows(&runners, model, limits.rows.max(1), *turn);
        let outgrown = limits.cache_bytes.map(|limit| (bytes_after(&runners, &chosen, &costs), limit));
        let outgrown = outgrown.filter(|(needed, limit)| needed > limit);
        let Some((needed, limit)) = outgrown.or_else(|| blocks_beyond(&runners, &chosen, model, &costs)) else {
            *turn = next;
            break chosen;
        };
        // Only those of this model give its blocks back.
        let Some(index) = runners.iter().rposition(|runner| limits.cache_bytes.is_some() || runner.model == model)
        else {
            return;
        };
        let Runner { arrival: (_, last), .. } = runners.remove(index);
        if !runners.iter().any(|runner| limits.cache_bytes.is_some() || runner.model == model) {
            finish(&mut commands, last, FinishReason::CacheFull { needed, limit }, String::new());
            return;
        }
        commands.entity(last).queue(|mut sequence: EntityWorldMut| read_again(&mut sequence));
    };
    for (index, rows) in chosen {
        let Ok((sequence, _, tokens, _, logits_from)) = running.get(runners[index].arrival.1) else { continue };
        let last = tokens.len() - 1;
        let logits_from = logits_from.map_or(last, |from| from.0.min(last));
        let picks = tokens.processed + rows == tokens.len();
        batch.push(sequence, tokens.unread().take(rows), tokens.processed, logits_from, picks);
    }
}

/// What all caches take once those that are chosen have got their rows.
fn bytes_after(runners: &[Runner], chosen: &[(usize, usize)], costs: &Query<&CacheCost>) -> u64 {
    let mut positions: Vec<usize> = runners.iter().map(|runner| runner.processed).collect();
    chosen.iter().for_each(|&(index, rows)| positions[index] += rows);
    let bytes = runners
        .iter()
        .zip(positions)
        .filter_map(|(runner, positions)| Some(costs.get(runner.model).ok()?.of(positions)));
    bytes.fold(0, u64::saturating_add)
}

/// What the blocks of `model` would take and what there is, in bytes, if those that are chosen outgrow it with their rows.
fn blocks_beyond(
    runners: &[Runner],
    chosen: &[(usize, usize)],
    model: Entity,
    costs: &Query<&CacheCost>,
) -> Option<(u64, u64)> {
    let cost = costs.get(model).ok().filter(|cost| cost.most_blocks < u64::MAX)?;
    let rows = |index: usize| chosen.iter().find(|&&(chosen, _)| chosen == index).map_or(0, |&(_, rows)| rows);
    let of_model = runners.iter().enumerate().filter(|(_, runner)| runner.model == model);
    let blocks: u64 = of_model.map(|(index, runner)| cost.blocks(runner.processed + rows(index))).sum();
    let bytes = |blocks: u64| cost.block.saturating_mul(blocks);
    (blocks > cost.most_blocks).then(|| (bytes(blocks), bytes(cost.most_blocks)))
}

/// Which runners of `model` get how many of the `rows` of a step, and whose turn it was then.
fn share_rows(runners: &[Runner], model: Entity, rows: usize, mut turn: Turn) -> (Vec<(usize, usize)>, Turn) {
    let of_model = || runners.iter().enumerate().filter(|(_, runner)| runner.model == model);
    let single: Vec<usize> = of_model().filter(|(_, runner)| runner.unread == 1).map(|(index, _)| index).collect();
    let longer: Vec<usize> = of_model().filter(|(_, runner)| runner.unread > 1).map(|(index, _)| index).collect();
    let kept = match (single.is_empty(), longer.is_empty()) {
        (_, true) => 0,
        (true, _) => rows,
        _ if rows > 1 => 1,
        _ => usize::from(!turn.read),
    };
    turn.read = kept > 0;
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    let for_single = rows - kept;
    if single.len() <= for_single {
        chosen.extend(single.iter().map(|&index| (index, 1)));
    } else {
        let after = single.partition_point(|&index| Some(runners[index].arrival) <= turn.served);
        let round = single.iter().cycle().skip(after).take(for_single);
        chosen.extend(round.map(|&index| (index, 1)));
        turn.served = chosen.last().map_or(turn.served, |&(index, _)| Some(runners[index].arrival));
        chosen.sort_unstable();
    }
    let mut left = rows - chosen.len();
    for index in longer.into_iter().take_while(|_| kept > 0) {
        let count = runners[index].alike.min(left);
        if count == 0 {
            break;
        }
        chosen.push((index, count));
        left -= count;
    }
    (chosen, turn)
}
