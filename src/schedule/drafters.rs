//! Part of the `Draft` set: has other models guess. For a sequence that asks for it, another one follows it on the other model,
//! reads what it has read, and goes on by itself for as many tokens as are wanted; meanwhile the first sits out. What was guessed
//! wrong, the other has taken back from its caches like anyone else.

use std::collections::HashMap;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::{Allow, QueryData};

use super::guesses;
use super::pace::Pace;
use super::take_back::TakenBack;
use crate::checkpoint::ModelConfig;
use crate::sampling::Sampling;
use crate::world::control::Paused;
use crate::world::draft::{Draft, Drafted, Drafts, DraftsFor, MOST_DRAFTS, SitsOut, TakesDrafts};
use crate::world::limits::Limits;
use crate::world::model::Unavailable;
use crate::world::sequence::{Arrival, LogitsFrom, Queued, Running, StopRules};
use crate::world::tokens::Tokens;

/// A sequence that asks for guesses.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Asking {
    entity: Entity,
    draft: &'static Draft,
    tokens: &'static Tokens,
    running: Option<&'static Running>,
    drafted: &'static mut Drafted,
    drafts: &'static Drafts,
    sits_out: &'static mut SitsOut,
    paused: Has<Paused>,
    disabled: Has<Disabled>,
    wants_logits: Has<LogitsFrom>,
}

/// A sequence that guesses.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Drafter {
    entity: Entity,
    drafts_for: &'static DraftsFor,
    tokens: &'static mut Tokens,
    running: Has<Running>,
    sits_out: &'static mut SitsOut,
}

/// A model, as far as guessing goes.
type Computes<'w> = (&'w ModelConfig, Has<TakesDrafts>, Has<Unavailable>);

/// Those that guess for nobody.
type Asks = (Without<DraftsFor>, Allow<Disabled>);

/// Has those that guess follow those that they guess for: what they have guessed is handed over, and what has been said since
/// is for them to read.
pub fn lead_drafters(
    mut commands: Commands,
    limits: Res<Limits>,
    pace: Res<Pace>,
    models: Query<Computes>,
    mut asking: Query<Asking, Asks>,
    mut drafters: Query<Drafter>,
) {
    if asking.is_empty() && drafters.is_empty() {
        return;
    }
    let mut drafter_of = HashMap::new();
    for mut drafter in &mut drafters {
        drafter.sits_out.0 = true;
        let DraftsFor { sequence, model, .. } = *drafter.drafts_for;
        let is_asked = asking.get(sequence).is_ok_and(|asking| *asking.draft == Draft::Model(model));
        if !is_asked || drafter_of.insert(sequence, drafter.entity).is_some() {
            commands.entity(drafter.entity).despawn();
        }
    }
    let mut generating: HashMap<Entity, usize> = HashMap::new();
    for running in asking.iter().filter_map(|asking| asking.running.filter(|_| asking.generates())) {
        *generating.entry(running.model).or_default() += 1;
    }
    for mut asking in &mut asking {
        asking.sits_out.0 = false;
        let (&Draft::Model(drafter), Some(running)) = (asking.draft, asking.running) else { continue };
        let (Ok((config, true, false)), Ok((of_drafter, _, false))) = (models.get(running.model), models.get(drafter))
        else {
            continue;
        };
        if !asking.generates() {
            continue;
        }
        let context = of_drafter.max_position_embeddings;
        let room = context.saturating_sub(asking.tokens.len() + 1);
        let room = room.min(running.room.saturating_sub(asking.tokens.generated.len() + 1)).min(MOST_DRAFTS);
        let Some(mut follower) = drafter_of.get(&asking.entity).and_then(|&drafter| drafters.get_mut(drafter).ok())
        else {
            if room > 0 {
                commands.spawn(follower_of(&asking, drafter));
            }
            continue;
        };
        if room == 0 {
            commands.entity(follower.entity).despawn();
            continue;
        }
        if !follower.running {
            continue;
        }
        if !follower.follows(asking.tokens) {
            let together = generating.get(&running.model).copied().unwrap_or(1);
            let most = room.min(guesses::most_to_take_back(asking.tokens.len(), config));
            let expected = Drafted { tokens: vec![0; most], ..Drafted::default() };
            let likely = asking.drafts.likelihoods(&expected);
            let unheard = asking.tokens.len().saturating_sub(follower.tokens.prompt.len());
            let wanted = match limits.drafts {
                Some(wanted) => wanted.min(most),
                None => guesses::worth_asking(likely, [running.model, drafter], together, &pace)
                    // What was not worth it may be by now.
                    .max(usize::from(unheard > ASKED_AGAIN).min(most)),
            };
            if wanted == 0 {
                continue;
            }
            let read = follower.follow(asking.tokens);
            commands.entity(follower.entity).insert(DraftsFor { wanted, ..*follower.drafts_for });
            if read < follower.tokens.processed {
                commands.entity(follower.entity).insert(TakenBack(read));
            }
            (follower.sits_out.0, asking.sits_out.0) = (false, true);
        } else if follower.tokens.generated.len() < follower.drafts_for.wanted {
            (follower.sits_out.0, asking.sits_out.0) = (false, true);
        } else {
            let Drafted { tokens, after, trust } = &mut *asking.drafted;
            tokens.clone_from(&follower.tokens.generated);
            (*after, *trust) = (asking.tokens.len(), 0);
        }
    }
}

/// After so many tokens without guesses, it is seen whether they would be right by now.
const ASKED_AGAIN: usize = 64;

/// A sequence that guesses for another.
fn follower_of(asking: &AskingItem<'_, '_>, model: Entity) -> impl Bundle {
    let tokens = Tokens { prompt: asking.tokens.iter().collect(), ..Tokens::default() };
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(usize::MAX) };
    let drafts_for = DraftsFor { sequence: asking.entity, model, wanted: 0 };
    (drafts_for, tokens, rules, Sampling::default(), SitsOut(true), Arrival::default(), Queued)
}

impl AskingItem<'_, '_> {
    /// Whether its next step could have guesses.
    fn generates(&self) -> bool {
        AskingReadOnlyItem::generates_with(self.tokens, self.paused || self.disabled || self.wants_logits)
    }
}

impl AskingReadOnlyItem<'_, '_> {
    fn generates(&self) -> bool {
        Self::generates_with(self.tokens, self.paused || self.disabled || self.wants_logits)
    }

    fn generates_with(tokens: &Tokens, stays_out: bool) -> bool {
        !stays_out && tokens.processed + 1 == tokens.len()
    }
}

impl DrafterItem<'_, '_> {
    /// Whether it has all that the other one has, and guesses since.
    fn follows(&self, tokens: &Tokens) -> bool {
        self.drafts_for.wanted > 0
            && self.tokens.prompt.len() == tokens.len()
            && self.tokens.prompt.iter().copied().eq(tokens.iter())
    }

    /// Goes on from what the other one has. Returns how much of that it has read already.
    fn follow(&mut self, tokens: &Tokens) -> usize {
        let own = &mut *self.tokens;
        let alike = own.iter().zip(tokens.iter()).take_while(|(own, other)| own == other).count();
        own.prompt.clear();
        own.prompt.extend(tokens.iter());
        own.generated.clear();
        own.processed.min(alike).min(own.prompt.len() - 1)
    }
}
