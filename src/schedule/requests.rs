//! The first part of the `Admit` set: what hosts have asked for since the last step.

use bevy_ecs::entity::{EntityCloner, EntityClonerBuilder, OptOut};
use bevy_ecs::prelude::*;

use super::choose::choose;
use super::finish::{finish, forget};
use super::full::turn_within;
use super::prompt::TextSide;
use super::take_back::TakenBack;
use crate::checkpoint::{ChatMessage, ChatOptions, ModelConfig};
use crate::sampling::Sampling;
use crate::world::cache::{Caches, OfSequence};
use crate::world::control::{Forgetful, ForkOf, Rewind, Say, Stop, TurnsForgotten};
use crate::world::conversation::Conversation;
use crate::world::model::ModelState;
use crate::world::refusal::Refusal;
use crate::world::sampler::{Sampler, Seed};
use crate::world::sequence::{Admitted, FinishReason, Finished, Prompt, Queued, Running, SpeaksWith, StopRules, Waits};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// Sequences that are to begin with a prompt, if they have begun before.
type Anew = (With<Prompt>, With<Queued>);

/// Sequences that were told something, and are at nothing else.
pub(super) type ToldAtRest = (With<Say>, Without<Running>, Without<Queued>);

/// Stops, rewinds, forks, begins anew and tells, in this order. Whoever hears that one of them has ended may despawn it, or
/// others.
pub fn take_requests(
    world: &mut World,
    stops: &mut QueryState<Entity, With<Stop>>,
    rewinds: &mut QueryState<Entity, With<Rewind>>,
    forks: &mut QueryState<(Entity, &ForkOf), With<Queued>>,
    anew: &mut QueryState<(Entity, &Admitted), Anew>,
    says: &mut QueryState<Entity, ToldAtRest>,
) {
    for sequence in stops.iter(world).collect::<Vec<_>>() {
        world.get_entity_mut(sequence).into_iter().for_each(stop);
    }
    for sequence in rewinds.iter(world).collect::<Vec<_>>() {
        world.get_entity_mut(sequence).into_iter().for_each(rewind);
    }
    // One may be a fork of another that is served here first.
    let mut waiting: Vec<_> = forks.iter(world).map(|(fork, of)| (fork, of.0)).collect();
    waiting.sort_unstable_by_key(|&(fork, _)| fork);
    for (fork, original) in waiting {
        if world.entities().contains(fork) {
            self::fork(world, fork, original);
        }
    }
    let begun = |(entity, admitted): (Entity, &Admitted)| (admitted.sequence == entity).then_some(entity);
    for sequence in anew.iter(world).filter_map(begun).collect::<Vec<_>>() {
        if world.entities().contains(sequence) {
            begin_anew(world, sequence);
        }
    }
    for sequence in says.iter(world).collect::<Vec<_>>() {
        if world.entities().contains(sequence) {
            say(world, sequence);
        }
    }
}

/// Whether there is something to end.
fn is_under_way(sequence: &EntityWorldMut<'_>) -> bool {
    sequence.contains::<Running>() || sequence.contains::<Queued>()
}

fn stop(mut sequence: EntityWorldMut<'_>) {
    let Some(Stop(reason)) = sequence.take() else { return };
    if is_under_way(&sequence) {
        finish(sequence, reason);
    }
}

fn rewind(mut sequence: EntityWorldMut<'_>) {
    let Some(Rewind(turn)) = sequence.take() else { return };
    let id = sequence.id();
    if is_under_way(&sequence) {
        sequence.world_scope(|world| finish(world.entity_mut(id), FinishReason::Cancelled));
    }
    if sequence.is_despawned() {
        return;
    }
    match sequence.get_mut::<Conversation>() {
        Some(mut conversation) => conversation.rewind(turn),
        None => tracing::warn!("{id} is rewound and is no conversation: nothing is forgotten"),
    }
}

/// Makes `fork` a copy of `original`, once that has read its prompt.
fn fork(world: &mut World, fork: Entity, original: Entity) {
    let Some(tokens) = world.get::<Tokens>(original) else {
        return finish(world.entity_mut(fork), FinishReason::Refused(Refusal::NoSuchSequence(original)));
    };
    let ended = world.get::<Finished>(original);
    if let Some(Finished(FinishReason::Refused(refusal))) = ended
        && tokens.is_empty()
    {
        let refusal = refusal.clone();
        return finish(world.entity_mut(fork), FinishReason::Refused(refusal));
    }
    if !tokens.has_read_prompt() && ended.is_none() {
        world.entity_mut(fork).insert(Waits::ForOriginal(original));
        return;
    }
    let brings = world.entity(fork);
    let own_rules = brings.get::<StopRules>().is_some_and(|rules| *rules != StopRules::default());
    let own_sampler = brings.contains::<Sampler>() || brings.contains::<Sampling>();
    let prompt = brings.contains::<Prompt>();
    let told = prompt || brings.contains::<Say>();
    let mut copy = EntityCloner::build_opt_in(world);
    copy.allow::<(Tokens, Transcript)>();
    if !prompt {
        copy.allow::<Conversation>();
    }
    copy.allow_if_new::<(SpeaksWith, ChatOptions, Forgetful, Seed)>();
    if !own_rules {
        copy.allow::<StopRules>();
    }
    if !own_sampler {
        copy.allow::<(Sampler, Sampling)>();
    }
    copy.clone_entity(original, fork);
    share_caches(world, original, fork);
    let (running, finished) = {
        let original = world.entity(original);
        (original.get::<Admitted>().copied(), original.get::<Finished>().cloned())
    };
    let mut entity = world.entity_mut(fork);
    entity.remove::<(ForkOf, Waits)>();
    if let Some(admitted) = running {
        // Whose caches they are, for a prompt of its own, and none that was let in for one that goes on.
        entity.insert(Admitted { sequence: fork, model: admitted.model });
    }
    match finished {
        _ if prompt => {}
        Some(finished) => _ = entity.remove::<Queued>().insert(finished),
        // What it was about to say is cut off by what it is told.
        None if told => finish(entity, FinishReason::Cancelled),
        None => _ = entity.remove::<Admitted>(),
    }
}

/// Gives `fork` caches that share the contents of the original's.
fn share_caches(world: &mut World, original: Entity, fork: Entity) {
    let caches: Vec<Entity> = world.get::<Caches>(original).map(|caches| caches.iter().collect()).unwrap_or_default();
    let copies: Vec<Entity> = caches.iter().map(|_| world.spawn(OfSequence(fork)).id()).collect();
    let mut cloner: EntityClonerBuilder<'_, OptOut> = EntityCloner::build_opt_out(world);
    cloner.deny::<OfSequence>();
    for (cache, copy) in caches.into_iter().zip(copies) {
        cloner.clone_entity(cache, copy);
    }
    if world.get::<Caches>(fork).is_none()
        && let Some(mut tokens) = world.get_mut::<Tokens>(fork)
    {
        tokens.processed = 0;
    }
}

/// The model that `sequence` names, or the only one. Nothing, where it is still to come.
fn model_of(world: &mut World, sequence: Entity) -> Option<Result<Entity, Refusal>> {
    let named = world.get::<SpeaksWith>(sequence).copied();
    choose(world.query::<(Entity, &ModelState)>().iter(world), named).transpose()
}

/// Has a sequence that has begun take up the [`Prompt`] that it was given.
fn begin_anew(world: &mut World, sequence: Entity) {
    let model = model_of(world, sequence);
    if world.get::<Running>(sequence).is_some() {
        finish(world.entity_mut(sequence), FinishReason::Cancelled);
        if !world.entities().contains(sequence) {
            return;
        }
    }
    let Some(model) = model else {
        // What it has read was read by another.
        forget(&mut world.entity_mut(sequence));
        world.entity_mut(sequence).remove::<Conversation>();
        return go_on(world, sequence, Ok((Tokens::default(), 0)));
    };
    let result = model.and_then(|model| {
        let prompt = world.get::<Prompt>(sequence).cloned().ok_or(Refusal::EmptyPrompt)?;
        let ids = TextSide::of(world, sequence, model).prompt(&prompt)?;
        let mut tokens = ready(world, sequence, model);
        // Tokens that were spoken may have gone through other kernels than those of a prompt.
        let given = tokens.spoken.first().map_or(tokens.prompt.len(), |spoken| spoken.start);
        let kept = tokens.prompt[..given].iter().zip(&ids).take_while(|(old, new)| old == new).count();
        let read = tokens.turn(kept, ids[kept..].to_vec());
        tokens.keep_at = None;
        let mut entity = world.entity_mut(sequence);
        match prompt {
            Prompt::Chat(messages) => _ = entity.insert(Conversation::new(messages)),
            _ => _ = entity.remove::<Conversation>(),
        }
        Ok((tokens, read))
    });
    go_on(world, sequence, result);
}

/// Has a sequence that is at rest take up what it was told.
fn say(world: &mut World, sequence: Entity) {
    let Some(model) = model_of(world, sequence) else {
        world.entity_mut(sequence).insert(Waits::ForModel);
        return;
    };
    let Some(Say(messages)) = world.entity_mut(sequence).take() else { return };
    let is_text = world.get::<Prompt>(sequence).is_some_and(|prompt| !prompt.is_chat());
    let result = model.and_then(|model| {
        let mut tokens = ready(world, sequence, model);
        if is_text {
            let text: String = messages.iter().filter_map(ChatMessage::content).collect();
            let more = TextSide::of(world, sequence, model).more(&text)?;
            let read = tokens.turn(tokens.len(), more);
            return Ok((tokens, read));
        }
        let mut conversation = world.get::<Conversation>(sequence).cloned().unwrap_or_default();
        conversation.say(messages);
        let text = TextSide::of(world, sequence, model);
        let context = world.get::<ModelConfig>(model).map_or(usize::MAX, |config| config.max_position_embeddings);
        let forgetful = world.get::<Forgetful>(sequence).copied();
        let (read, turns) = turn_within(text, &mut conversation, &mut tokens, context, forgetful)?;
        if turns > 0 {
            world.write_message(TurnsForgotten { sequence, turns });
        }
        world.entity_mut(sequence).insert(conversation);
        Ok((tokens, read))
    });
    go_on(world, sequence, result);
}

/// The tokens of a sequence as far as its caches are of `model`, and nothing if they are not.
fn ready(world: &mut World, sequence: Entity, model: Entity) -> Tokens {
    let mut entity = world.entity_mut(sequence);
    if entity.get::<Admitted>().is_some_and(|admitted| admitted.model != model) {
        forget(&mut entity);
        return Tokens::default();
    }
    if entity.get::<Caches>().is_none_or(RelationshipTarget::is_empty) {
        forget(&mut entity);
    }
    entity.get::<Tokens>().cloned().unwrap_or_default()
}

/// Queues a sequence to go on with these tokens, of which so many are read.
fn go_on(world: &mut World, sequence: Entity, turn: Result<(Tokens, usize), Refusal>) {
    let mut entity = world.entity_mut(sequence);
    match turn {
        Ok((tokens, read)) => {
            if read < tokens.processed {
                entity.insert(TakenBack(read));
            }
            entity.remove::<(Admitted, Finished, Transcript)>().insert((tokens, Queued));
        }
        Err(refusal) => {
            // What it says there was said in the turn before.
            entity.remove::<Transcript>();
            finish(entity, FinishReason::Refused(refusal));
        }
    }
}
