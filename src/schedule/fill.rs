//! The second half of the `Admit` set: whose turn it is. A step runs one model; its rows are one of each sequence that
//! generates, and then chunks of the prompts still to be read, all within [`Limits`].

use std::cmp::Reverse;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::{Allow, QueryData};

use super::finish::{finish_later, forget_later, read_again_later};
use super::guesses;
use super::pace::{Pace, Work};
use super::take_back::rows_to_keep;
use crate::checkpoint::ModelConfig;
use crate::world::batch::Batch;
use crate::world::cache::Caches;
use crate::world::control::{Paused, Priority};
use crate::world::conversation::Conversation;
use crate::world::draft::{Drafted, Drafts, DraftsFor, SitsOut, TakesDrafts};
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::{ActiveModel, OnModel};
use crate::world::sequence::{Admitted, Arrival, FinishReason, LogitsFrom, Running};
use crate::world::tokens::Tokens;

/// While others generate, one in so many rows of a step is kept for prompts, and at least one.
const KEPT_FOR_PROMPTS: usize = 4;

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

/// What choosing a model asks of a sequence that runs.
type TakesTurns<'w> = (&'w Running, &'w Arrival, Option<&'w SitsOut>, Has<DraftsFor>);

/// Marks the model that has waited longest of those that have a sequence running, the first to arrive before others.
pub fn choose_model(
    mut commands: Commands,
    mut batch: ResMut<Batch>,
    mut models: Query<&mut Turn, With<ModelConfig>>,
    active: Query<Entity, With<ActiveModel>>,
    running: Query<TakesTurns, Without<Paused>>,
    mut step: Local<u64>,
) {
    batch.clear();
    let taking_part = running.iter().filter(|(_, _, sits_out, _)| !sits_out.is_some_and(|sits_out| sits_out.0));
    let turns = taking_part.filter_map(|(running, arrival, _, drafts)| {
        let turn = models.get(running.model).ok()?;
        // All guesses are in before those who wait for them go on, together.
        Some((!drafts, turn.step, *arrival, running.model))
    });
    let Some((_, _, _, chosen)) = turns.min() else { return };
    *step += 1;
    if let Ok(mut turn) = models.get_mut(chosen) {
        turn.step = *step;
    }
    if !active.contains(chosen) {
        active.iter().for_each(|model| _ = commands.entity(model).remove::<ActiveModel>());
        commands.entity(chosen).insert(ActiveModel);
    }
}

/// What filling a batch asks of a sequence that runs.
#[derive(QueryData)]
pub struct Runs {
    entity: Entity,
    arrival: &'static Arrival,
    priority: Option<&'static Priority>,
    pub(super) tokens: &'static Tokens,
    pub(super) running: &'static Running,
    talks: Has<Conversation>,
    pub(super) logits_from: Option<&'static LogitsFrom>,
    pub(super) drafting: Option<(&'static Drafted, &'static Drafts)>,
    sits_out: Option<&'static SitsOut>,
    drafts: Has<DraftsFor>,
}

/// A sequence that runs, as far as filling a batch looks at it.
struct Runner {
    drafts: bool,
    priority: Reverse<Priority>,
    arrival: (Arrival, Entity),
    model: Entity,
    kept_states: usize,
    processed: usize,
    unread: usize,
    /// How many of them a chunk may have: those of the prompt, or those of generated tokens that are read again. A backend
    /// may compute one and the other by different kernels, and what comes of a row must not depend on its step.
    alike: usize,
}

impl Runner {
    fn of(runs: &RunsItem<'_, '_>, limits: &Limits) -> Self {
        let RunsItem { tokens, running, .. } = runs;
        let alike = tokens.alike();
        let takes_part = !runs.sits_out.is_some_and(|sits_out| sits_out.0);
        Self {
            drafts: runs.drafts,
            priority: Reverse(runs.priority.copied().unwrap_or_default()),
            arrival: (*runs.arrival, runs.entity),
            model: running.model,
            kept_states: limits.kept_states_of(runs.talks),
            processed: tokens.processed,
            unread: if takes_part { tokens.len() - tokens.processed } else { 0 },
            alike: tokens.keep_at.map_or(alike, |place| rows_to_keep(tokens.processed, alike, place)),
        }
    }

    /// Who is served first, where not all can be.
    fn order(&self) -> (bool, Reverse<Priority>, (Arrival, Entity)) {
        (self.drafts, self.priority, self.arrival)
    }
}

/// What is held by those that take no part in the step.
#[derive(Clone, Copy, Default)]
struct Held {
    bytes: u64,
    blocks: u64,
}

/// Caches of a sequence at rest, and what giving them up frees.
struct Resting {
    sequence: (Arrival, Entity),
    model: Entity,
    bytes: u64,
    blocks: u64,
}

/// Sequences that run and take no part for now.
type KeptOut = Or<(With<Paused>, With<Disabled>)>;

/// Sequences at rest that have caches.
type AtRest = (With<Caches>, Without<Running>, Allow<Disabled>);

/// Fills the batch with rows of the active model. Those that have one token to go come first; what is left goes to longer
/// prompts, for which rows are kept, so that they cannot starve. Where caches outgrow their room, sequences at rest give up
/// theirs, and then those that came last.
pub fn fill_batch(
    mut commands: Commands,
    limits: Res<Limits>,
    pace: Res<Pace>,
    mut batch: ResMut<Batch>,
    active: OnModel<(Entity, &mut Turn, &ModelConfig, Has<TakesDrafts>)>,
    costs: Query<&CacheCost>,
    running: Query<Runs, Without<Paused>>,
    kept_out: Query<(&Tokens, &Running, Has<Conversation>), KeptOut>,
    at_rest: Query<(Entity, &Arrival, &Admitted, &Tokens, Has<Conversation>), AtRest>,
) {
    let (model, mut turn, config, takes_drafts) = active.into_inner();
    let mut runners: Vec<Runner> = running.iter().map(|runs| Runner::of(&runs, &limits)).collect();
    runners.sort_unstable_by_key(|runner| runner.order());
    let mut held = Held::default();
    for (tokens, running, talks) in &kept_out {
        let Ok(cost) = costs.get(running.model) else { continue };
        held.bytes = held.bytes.saturating_add(cost.of_keeping(tokens.processed, limits.kept_states_of(talks)));
        held.blocks += if running.model == model { cost.blocks(tokens.processed) } else { 0 };
    }
    let resting = at_rest.iter().filter_map(|(sequence, &arrival, admitted, tokens, talks)| {
        let cost = costs.get(admitted.model).ok()?;
        Some(Resting {
            sequence: (arrival, sequence),
            model: admitted.model,
            bytes: cost.of_keeping(tokens.processed, limits.kept_states_of(talks)),
            blocks: if admitted.model == model { cost.blocks(tokens.processed) } else { 0 },
        })
    });
    let mut resting: Vec<Resting> = resting.collect();
    resting.sort_unstable_by_key(|resting| Reverse(resting.sequence));
    let (chosen, of_resting) = loop {
        let (chosen, next) = rows_that_fit(&runners, model, &limits, &pace, *turn);
        let of_resting = resting.iter().fold(held, |held, resting| Held {
            bytes: held.bytes.saturating_add(resting.bytes),
            blocks: held.blocks + resting.blocks,
        });
        let outgrown = limits.cache_bytes.map(|limit| (bytes_after(&runners, &chosen, &costs, of_resting), limit));
        let outgrown = outgrown.filter(|(needed, limit)| needed > limit);
        let beyond = || blocks_beyond(&runners, &chosen, model, &costs, of_resting);
        let Some((needed, limit)) = outgrown.or_else(beyond) else {
            *turn = next;
            break (chosen, of_resting);
        };
        // Only those of this model give its blocks back.
        let frees = |of: Entity| limits.cache_bytes.is_some() || of == model;
        if let Some(index) = resting.iter().rposition(|resting| frees(resting.model)) {
            let (_, sequence) = resting.remove(index).sequence;
            forget_later(&mut commands, sequence);
            continue;
        }
        let Some(index) = runners.iter().rposition(|runner| frees(runner.model)) else { return };
        let Runner { arrival: (_, last), .. } = runners.remove(index);
        if !runners.iter().any(|runner| frees(runner.model)) {
            finish_later(&mut commands, last, FinishReason::CacheFull { needed, limit });
            return;
        }
        read_again_later(&mut commands, last);
    };
    let mut drafts = vec![0; chosen.len()];
    if takes_drafts {
        let likely = chosen.iter().map(|&(index, _)| {
            let runs = running.get(runners[index].arrival.1);
            runs.map_or_else(|_| Vec::new(), |runs| guesses::likelihoods(&runs, config))
        });
        let likely: Vec<Vec<f32>> = likely.collect();
        let rows = chosen.iter().map(|&(_, rows)| rows).sum();
        let counts = match limits.drafts {
            Some(wanted) => guesses::as_many_as(wanted, &likely, rows, limits.rows),
            None => guesses::worth_a_row(&likely, model, rows, limits.rows, &pace),
        };
        let with_drafts = chosen.iter().zip(&counts).map(|(&(index, rows), drafts)| (index, rows + drafts));
        let with_drafts: Vec<_> = with_drafts.collect();
        let outgrows = |limit| bytes_after(&runners, &with_drafts, &costs, of_resting) > limit;
        if !limits.cache_bytes.is_some_and(outgrows) && pace.fits(model, work_of(&runners, &with_drafts)) {
            drafts = counts;
        }
    }
    for (place, (index, rows)) in chosen.into_iter().enumerate() {
        let Ok(runs) = running.get(runners[index].arrival.1) else { continue };
        let tokens = runs.tokens;
        let last = tokens.len() - 1;
        let logits_from = runs.logits_from.map_or(last, |from| from.0.min(last));
        let picks = tokens.processed + rows == tokens.len();
        batch.push(runs.entity, tokens.unread().take(rows), tokens.processed, logits_from, picks);
        if let Some((drafted, _)) = runs.drafting {
            batch.push_drafts(&drafted.tokens[..drafts[place]]);
        }
    }
}

/// What all caches take once those that are chosen have got their rows.
fn bytes_after(runners: &[Runner], chosen: &[(usize, usize)], costs: &Query<&CacheCost>, held: Held) -> u64 {
    let mut positions: Vec<usize> = runners.iter().map(|runner| runner.processed).collect();
    chosen.iter().for_each(|&(index, rows)| positions[index] += rows);
    let bytes = runners.iter().zip(positions).filter_map(|(runner, positions)| {
        Some(costs.get(runner.model).ok()?.of_keeping(positions, runner.kept_states))
    });
    bytes.fold(held.bytes, u64::saturating_add)
}

/// What the blocks of `model` would take and what there is, in bytes, if those that are chosen outgrow it with their rows.
fn blocks_beyond(
    runners: &[Runner],
    chosen: &[(usize, usize)],
    model: Entity,
    costs: &Query<&CacheCost>,
    held: Held,
) -> Option<(u64, u64)> {
    let cost = costs.get(model).ok().filter(|cost| cost.most_blocks < u64::MAX)?;
    let rows = |index: usize| chosen.iter().find(|&&(chosen, _)| chosen == index).map_or(0, |&(_, rows)| rows);
    let of_model = runners.iter().enumerate().filter(|(_, runner)| runner.model == model);
    let blocks: u64 = of_model.map(|(index, runner)| cost.blocks(runner.processed + rows(index))).sum();
    let (blocks, bytes) = (blocks + held.blocks, |blocks: u64| cost.block.saturating_mul(blocks));
    (blocks > cost.most_blocks).then(|| (bytes(blocks), bytes(cost.most_blocks)))
}

/// Which runners of `model` get how many rows: as many as are allowed, and let each layer be passed over in the time that a
/// piece may take.
fn rows_that_fit(
    runners: &[Runner],
    model: Entity,
    limits: &Limits,
    pace: &Pace,
    turn: Turn,
) -> (Vec<(usize, usize)>, Turn) {
    let shared = |rows: usize| {
        let shared = share_rows(runners, model, rows, turn);
        let work = work_of(runners, &shared.0);
        (shared, work)
    };
    let most = limits.rows.max(1);
    let (all, work) = shared(most);
    if pace.fits(model, work) {
        return all;
    }
    shared(pace.rows_that_fit(model, work.rows.min(most), |rows| shared(rows).1)).0
}

/// What the rows of those that are chosen are.
fn work_of(runners: &[Runner], chosen: &[(usize, usize)]) -> Work {
    let mut work = Work::default();
    for &(index, rows) in chosen {
        let first = runners[index].processed;
        work.rows += rows;
        work.depth += (first..first + rows).sum::<usize>();
    }
    work
}

/// Which runners of `model` get how many of the `rows` of a step, and whose turn it was then.
fn share_rows(runners: &[Runner], model: Entity, rows: usize, mut turn: Turn) -> (Vec<(usize, usize)>, Turn) {
    let of_model = || runners.iter().enumerate().filter(|(_, runner)| runner.model == model);
    let single: Vec<usize> = of_model().filter(|(_, runner)| runner.unread == 1).map(|(index, _)| index).collect();
    let longer: Vec<usize> = of_model().filter(|(_, runner)| runner.unread > 1).map(|(index, _)| index).collect();
    let kept = match (single.is_empty(), longer.is_empty()) {
        (_, true) => 0,
        (true, _) => rows,
        _ if rows > 1 => (rows / KEPT_FOR_PROMPTS).max(1),
        _ => usize::from(!turn.read),
    };
    turn.read = kept > 0;
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    let mut left = rows - kept;
    for class in single.chunk_by(|&one, &other| runners[one].priority == runners[other].priority) {
        if class.len() <= left {
            chosen.extend(class.iter().map(|&index| (index, 1)));
            left -= class.len();
            continue;
        }
        let after = class.partition_point(|&index| Some(runners[index].arrival) <= turn.served);
        let served = class.iter().cycle().skip(after).take(left).map(|&index| (index, 1));
        chosen.extend(served);
        if left > 0 {
            turn.served = chosen.last().map(|&(index, _)| runners[index].arrival);
        }
        break;
    }
    chosen.sort_unstable();
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
