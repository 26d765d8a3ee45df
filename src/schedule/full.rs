//! What a [`Forgetful`] conversation does when its context is full.

use bevy_ecs::prelude::*;

use super::finish::finish;
use super::prompt::TextSide;
use super::requests::TakenBack;
use crate::checkpoint::ModelConfig;
use crate::world::control::{Forgetful, TurnsForgotten};
use crate::world::conversation::Conversation;
use crate::world::refusal::Refusal;
use crate::world::sequence::{Admitted, FinishReason, Queued, Running};
use crate::world::tokens::Tokens;

/// On a sequence whose answer has come to the end of its context.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Full;

/// Has `tokens` go on to the answer that `conversation` waits for, and forgets turns first if they would leave no room. Returns
/// how many tokens of those read can stay so, and how many turns were forgotten.
///
/// # Errors
/// If the template or the tokenizer fail, or if even the last turn by itself leaves no room.
pub(super) fn turn_within(
    text: TextSide<'_>,
    conversation: &mut Conversation,
    tokens: &mut Tokens,
    context: usize,
    forgetful: Option<Forgetful>,
) -> Result<(usize, usize), Refusal> {
    let mut next = tokens.clone();
    let mut read = text.turn(conversation, &mut next)?;
    let mut forgotten = 0;
    if let Some(Forgetful(share)) = forgetful
        && next.prompt.len() >= context
    {
        (read, forgotten) = forget_turns(text, conversation, tokens, &mut next, context, share)?;
        let prompt = next.prompt.len();
        if prompt >= context {
            // Too long by itself: nothing is forgotten for it.
            return Err(Refusal::ContextOverflow { prompt, context });
        }
    }
    *tokens = next;
    Ok((read, forgotten))
}

/// Forgets turns until what is left of the conversation fills no more than `share` of the context, or none can be.
fn forget_turns(
    text: TextSide<'_>,
    conversation: &mut Conversation,
    tokens: &Tokens,
    next: &mut Tokens,
    context: usize,
    share: f32,
) -> Result<(usize, usize), Refusal> {
    let most = (context as f32 * share) as usize;
    let mut forgotten = 0;
    loop {
        let forgets = conversation.forget_first();
        *next = tokens.clone();
        let read = text.turn(conversation, next)?;
        forgotten += usize::from(forgets);
        if !forgets || next.prompt.len() <= most {
            return Ok((read, forgotten));
        }
    }
}

/// Part of the `Admit` set: makes room in contexts that are full, for the answers in hand to go on.
pub fn make_room(world: &mut World, full: &mut QueryState<Entity, With<Full>>) {
    for sequence in full.iter(world).collect::<Vec<_>>() {
        world.entity_mut(sequence).remove::<Full>();
        match go_on(world, sequence) {
            Some(turns) => _ = world.write_message(TurnsForgotten { sequence, turns }),
            None => finish(world.entity_mut(sequence), FinishReason::Length),
        }
    }
}

/// How many turns were forgotten; nothing, if that makes no room.
fn go_on(world: &mut World, sequence: Entity) -> Option<usize> {
    let entity = world.get_entity(sequence).ok()?;
    let model = entity.get::<Running>()?.model;
    let share = entity.get::<Forgetful>()?.0;
    let mut conversation = entity.get::<Conversation>()?.clone();
    let mut tokens = entity.get::<Tokens>()?.clone();
    let answer = std::mem::take(&mut tokens.generated);
    let text = TextSide::of(world, sequence, model);
    let context = world.get::<ModelConfig>(model)?.max_position_embeddings;
    let mut next = Tokens::default();
    let (read, turns) = forget_turns(text, &mut conversation, &tokens, &mut next, context, share).ok()?;
    if turns == 0 || next.prompt.len() + answer.len() >= context {
        return None;
    }
    next.generated = answer;
    let mut entity = world.entity_mut(sequence);
    entity.remove::<(Running, Admitted)>().insert((conversation, next, TakenBack(read), Queued));
    Some(turns)
}
