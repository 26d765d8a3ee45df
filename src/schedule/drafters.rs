//! Part of the `Draft` set: has other models guess, of which the head that predicts several tokens is one. For a sequence that
//! asks for it, another one follows it on that model, reads what it has read, and goes on by itself for as many tokens as are
//! wanted; meanwhile the first sits out. What was guessed wrong, the other has taken back from its caches like anyone else.

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
use crate::world::draft::{Draft, Drafted, Drafts, DraftsFor, HiddenStates, SitsOut, TRUST_IN_MODELS, TakesDrafts};
use crate::world::limits::Limits;
use crate::world::model::{ModelState, Unavailable};
use crate::world::mtp::HeadOf;
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
    hidden: Option<&'static mut HiddenStates>,
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
    states: Query<(), With<ModelState>>,
    heads: Query<(Entity, &HeadOf)>,
    mut asking: Query<Asking, Asks>,
    mut drafters: Query<Drafter>,
) {
    if asking.is_empty() && drafters.is_empty() {
        return;
    }
    let drafter_of = dismiss_those_not_asked(&mut commands, &heads, &asking, &mut drafters);
    let generating = count_generating(&asking);
    for mut asking in &mut asking {
        asking.sits_out.0 = false;
        let Some(running) = asking.running.filter(|_| !asking.stays_out()) else { continue };
        let Ok((config, takes_drafts, false)) = models.get(running.model) else { continue };
        let drafter = if takes_drafts {
            model_that_guesses(*asking.draft, running.model, &states, &heads)
        } else {
            Err("a device computes its model")
        };
        let drafter = match drafter {
            Ok(Some(drafter)) => drafter,
            Ok(None) => continue,
            Err(why) => {
                tracing::warn!("{} goes on without guesses: {why}", asking.entity);
                commands.entity(asking.entity).remove::<Draft>();
                continue;
            }
        };
        let Ok((of_drafter, _, false)) = models.get(drafter) else { continue };
        let generates = asking.tokens.is_at_last();
        let room = of_drafter.max_position_embeddings.saturating_sub(asking.tokens.len() + 1);
        let room = room.min(guesses::room(running, asking.tokens));
        let follower = drafter_of.get(&asking.entity).and_then(|&drafter| drafters.get_mut(drafter).ok());
        let Some(mut follower) = follower else {
            if room > 0 {
                spawn_follower(&mut commands, &asking, drafter);
            }
            continue;
        };
        if room == 0 {
            commands.entity(follower.entity).despawn();
            continue;
        }
        let course = follower.course(asking.tokens).filter(|_| follower.running);
        // One that has missed some of it would guess what is known.
        let Some(course) = course.filter(|course| !generates || course.to == asking.tokens.len()) else { continue };
        if follower.is_on(&course) {
            if follower.tokens.generated.len() < follower.drafts_for.wanted {
                (follower.sits_out.0, asking.sits_out.0) = (false, generates);
            } else if generates {
                let Drafted { tokens, after, trust } = &mut *asking.drafted;
                tokens.clone_from(&follower.tokens.generated);
                (*after, *trust) = (asking.tokens.len(), TRUST_IN_MODELS);
            }
            continue;
        }
        let unheard = course.len().saturating_sub(follower.tokens.prompt.len());
        let wanted = if generates {
            let most = room.min(guesses::most_to_take_back(asking.tokens.len(), config));
            let expected = Drafted { tokens: vec![0; most], after: 0, trust: TRUST_IN_MODELS };
            let likely = asking.drafts.likelihoods(&expected);
            let together = generating.get(&running.model).copied().unwrap_or(1);
            let worth = || guesses::worth_asking(likely, [running.model, drafter], together, &pace);
            limits.drafts.map_or_else(worth, |wanted| wanted.min(most))
        } else {
            0
        };
        // It reads along, and what was not worth it may be by now. One that has read has guessed once.
        let wanted = wanted.max(usize::from(unheard >= READ_ALONG));
        if wanted > 0 {
            let read = follower.follow(course);
            commands.entity(follower.entity).insert(DraftsFor { wanted, ..*follower.drafts_for });
            if read < follower.tokens.processed {
                commands.entity(follower.entity).insert(TakenBack(read));
            }
            (follower.sits_out.0, asking.sits_out.0) = (false, generates);
        }
    }
}

/// Has all that guess sit out for now, and takes away those that nobody asks any more. Returns the others by whom they guess for.
fn dismiss_those_not_asked(
    commands: &mut Commands,
    heads: &Query<(Entity, &HeadOf)>,
    asking: &Query<Asking, Asks>,
    drafters: &mut Query<Drafter>,
) -> HashMap<Entity, Entity> {
    let mut drafter_of = HashMap::new();
    for mut drafter in drafters {
        drafter.sits_out.0 = true;
        let DraftsFor { sequence, model, .. } = *drafter.drafts_for;
        let is_asked = asking.get(sequence).is_ok_and(|asking| match *asking.draft {
            Draft::Model(asked) => asked == model,
            Draft::Mtp => heads.contains(model),
            Draft::Lookup => false,
        });
        if !is_asked || drafter_of.insert(sequence, drafter.entity).is_some() {
            commands.entity(drafter.entity).despawn();
        }
    }
    drafter_of
}

/// How many of those that ask generate on each model.
fn count_generating(asking: &Query<Asking, Asks>) -> HashMap<Entity, usize> {
    let mut generating = HashMap::new();
    for running in asking.iter().filter(|asking| asking.tokens.is_at_last()).filter_map(|asking| asking.running) {
        *generating.entry(running.model).or_default() += 1;
    }
    generating
}

/// Which model guesses for a sequence of `model`; none where no model does.
///
/// # Errors
/// Why there are no guesses, if there should be.
fn model_that_guesses(
    draft: Draft,
    model: Entity,
    states: &Query<(), With<ModelState>>,
    heads: &Query<(Entity, &HeadOf)>,
) -> Result<Option<Entity>, &'static str> {
    match draft {
        Draft::Lookup => Ok(None),
        Draft::Model(other) if states.contains(other) => Ok(Some(other)),
        Draft::Model(_) => Err("there is no such model"),
        Draft::Mtp => match heads.iter().find(|(_, of)| of.0 == model) {
            Some((head, _)) => Ok(Some(head)),
            None => Err("the head of its model was not loaded, if it has one"),
        },
    }
}

/// After so many tokens it reads them, whether guesses are worth it or not.
const READ_ALONG: usize = 64;

/// Spawns a sequence that guesses for another.
fn spawn_follower(commands: &mut Commands, asking: &AskingItem<'_, '_>, model: Entity) {
    let tokens = Tokens { prompt: asking.tokens.iter().collect(), ..Tokens::default() };
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(usize::MAX) };
    let drafts_for = DraftsFor { sequence: asking.entity, model, wanted: 0 };
    let mut follower =
        commands.spawn((drafts_for, tokens, rules, Sampling::default(), SitsOut(true), Arrival::default(), Queued));
    if *asking.draft == Draft::Mtp {
        follower.insert(HiddenStates::default());
    }
}

impl AskingItem<'_, '_> {
    fn stays_out(&self) -> bool {
        self.paused || self.disabled || self.wants_logits
    }
}

/// What a sequence that guesses reads of the one that it follows: some of its tokens, one after the other.
#[derive(Clone, Copy)]
struct Course<'a> {
    tokens: &'a Tokens,
    from: usize,
    to: usize,
}

impl Course<'_> {
    fn len(&self) -> usize {
        self.to - self.from
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.tokens.iter().skip(self.from).take(self.len())
    }
}

impl DrafterItem<'_, '_> {
    /// What it is to read: all tokens, or those after each whose hidden state it has; `None`, as long as that is nothing.
    fn course<'a>(&self, tokens: &'a Tokens) -> Option<Course<'a>> {
        let course = match &self.hidden {
            None => Course { tokens, from: 0, to: tokens.len() },
            Some(hidden) => {
                // Of what was guessed wrong there may be some too many.
                let known = hidden.end().min(tokens.processed).min(tokens.len() - 1);
                Course { tokens, from: hidden.start() + 1, to: known + 1 }
            }
        };
        (course.from < course.to).then_some(course)
    }

    /// Whether it has read what it is to read, or is about to, and guesses what comes next.
    fn is_on(&self, course: &Course<'_>) -> bool {
        let prompt = &self.tokens.prompt;
        self.drafts_for.wanted > 0 && prompt.len() == course.len() && prompt.iter().copied().eq(course.iter())
    }

    /// Goes on from what it is to read. Returns how much of that it has read already.
    fn follow(&mut self, mut course: Course<'_>) -> usize {
        let own = &mut *self.tokens;
        let alike = own.iter().zip(course.iter()).take_while(|(own, other)| own == other).count();
        let mut read = own.processed.min(alike).min(course.len() - 1);
        if let Some(hidden) = &mut self.hidden {
            // What it has guessed, it has read beside states of its own.
            read = read.min(own.prompt.len());
            if !hidden.forget_before(read) {
                (course.from, read) = (hidden.start() + 1, 0);
            }
        }
        own.prompt.clear();
        own.prompt.extend(course.iter());
        own.generated.clear();
        read
    }
}
