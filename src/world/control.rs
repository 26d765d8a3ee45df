//! What a host tells a sequence. Whenever it does, within a step or between two, it takes effect when the next step begins.

use bevy_ecs::prelude::*;

use super::sequence::{Arrival, FinishReason, Queued, StopRules};
use super::tokens::Tokens;
use crate::checkpoint::ChatMessage;

/// Takes no part in steps for as long as it is there. Its caches stay.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Paused;

/// Who is served first, where not all can be: higher ones before lower ones, 0 where nothing is said. Among equals, those that
/// generate take turns, and prompts are read in the order in which they came.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Priority(pub i32);

/// Ends what the sequence is at, for this reason.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Stop(pub FinishReason);

/// What is said to the sequence next, once it has answered what was said before.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[require(Tokens, StopRules, Arrival)]
pub struct Say(pub Vec<ChatMessage>);

/// Takes the conversation back to before this turn, from 0 on: that turn and all after it are forgotten. What the sequence is
/// at ends.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Rewind(pub usize);

/// Begins as a copy of another sequence: with what it has read, said and heard, which both share until one of them writes
/// over it, layer by layer. Of what it does not bring itself, it takes the other's settings.
///
/// It waits until the other has read its prompt. One that has a [`Prompt`](super::sequence::Prompt) of its own, or is
/// [told](Say) something, takes over what begins alike and reads the rest.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
#[require(Tokens, StopRules, Arrival, Queued)]
pub struct ForkOf(pub Entity);

/// Put beside a conversation, a context that fills up does not end it: the earliest turns are forgotten, but for what came
/// before all turns, until the rest fills no more than this share of the context, and that is read again. The last turn
/// always stays. A [`TurnsForgotten`] message says so.
#[derive(Component, Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
pub struct Forgetful(pub f32);

impl Default for Forgetful {
    /// Half of the context.
    fn default() -> Self {
        Self(0.5)
    }
}

/// A [`Forgetful`] conversation has forgotten its earliest turns.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnsForgotten {
    /// Which.
    pub sequence: Entity,
    /// How many.
    pub turns: usize,
}

/// What can be told to a sequence by command.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// fn ask(mut commands: Commands, speakers: Query<Entity, With<Finished>>) {
///     for speaker in &speakers {
///         commands.entity(speaker).say("And then?");
///     }
/// }
/// # let mut world = World::new();
/// # world.run_system_cached(ask).unwrap();
/// ```
pub trait SequenceCommands {
    /// Tells the sequence this next, as its user: see [`Say`].
    fn say(&mut self, text: impl Into<String>) -> &mut Self {
        self.tell(ChatMessage::new("user", text))
    }

    /// Tells it a message of any role: what a tool has answered, for example. Several of them told before the next step begins
    /// make one turn.
    fn tell(&mut self, message: ChatMessage) -> &mut Self;

    /// Ends what it is at, as [`FinishReason::Cancelled`].
    fn stop(&mut self) -> &mut Self {
        self.stop_for(FinishReason::Cancelled)
    }

    /// Ends what it is at, for this reason.
    fn stop_for(&mut self, reason: FinishReason) -> &mut Self;

    /// Has it take no part in steps: see [`Paused`].
    fn pause(&mut self) -> &mut Self;

    /// Has it take part again.
    fn resume(&mut self) -> &mut Self;

    /// Takes the conversation back to before this turn: see [`Rewind`].
    fn rewind(&mut self, turn: usize) -> &mut Self;

    /// A copy of it: see [`ForkOf`].
    fn fork(&mut self) -> Entity;
}

fn tell(sequence: &mut EntityWorldMut<'_>, message: ChatMessage) {
    match sequence.get_mut::<Say>() {
        Some(mut say) => say.0.push(message),
        None => _ = sequence.insert(Say(vec![message])),
    }
}

impl SequenceCommands for EntityCommands<'_> {
    fn tell(&mut self, message: ChatMessage) -> &mut Self {
        self.queue(|mut sequence: EntityWorldMut<'_>| tell(&mut sequence, message))
    }

    fn stop_for(&mut self, reason: FinishReason) -> &mut Self {
        self.insert(Stop(reason))
    }

    fn pause(&mut self) -> &mut Self {
        self.insert(Paused)
    }

    fn resume(&mut self) -> &mut Self {
        self.remove::<Paused>()
    }

    fn rewind(&mut self, turn: usize) -> &mut Self {
        self.insert(Rewind(turn))
    }

    fn fork(&mut self) -> Entity {
        let original = self.id();
        self.commands_mut().spawn(ForkOf(original)).id()
    }
}

impl SequenceCommands for EntityWorldMut<'_> {
    fn tell(&mut self, message: ChatMessage) -> &mut Self {
        tell(self, message);
        self
    }

    fn stop_for(&mut self, reason: FinishReason) -> &mut Self {
        self.insert(Stop(reason))
    }

    fn pause(&mut self) -> &mut Self {
        self.insert(Paused)
    }

    fn resume(&mut self) -> &mut Self {
        self.remove::<Paused>()
    }

    fn rewind(&mut self, turn: usize) -> &mut Self {
        self.insert(Rewind(turn))
    }

    fn fork(&mut self) -> Entity {
        let original = self.id();
        self.world_scope(|world| world.spawn(ForkOf(original)).id())
    }
}
