//! A sequence that is spoken with: its messages, turn by turn.

use bevy_ecs::component::{Component, Mutable, StorageType};

use super::sequence::{Arrival, Queued, StopRules};
use super::tokens::Tokens;
use crate::checkpoint::{ChatMessage, ChatOptions};

/// All that was said, to the model and by it: what its chat template is given at each turn. A sequence has it from its first
/// [`Prompt::Chat`](super::sequence::Prompt::Chat), [`SystemPrompt`] or [`Say`](super::control::Say).
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(bevy_ecs::reflect::Component, Clone, PartialEq))]
#[require(Tokens, StopRules, Arrival)]
pub struct Conversation {
    messages: Vec<ChatMessage>,
    /// Where in `messages` each turn begins.
    turns: Vec<usize>,
}

impl Conversation {
    /// One that begins with these messages: a system's, or turns that were taken elsewhere.
    #[must_use]
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        let mut conversation = Self::default();
        conversation.messages.reserve(messages.len());
        let mut answered = true;
        for message in messages {
            let asks = !matches!(message.role(), Some("system" | "developer" | "assistant"));
            if asks && answered {
                conversation.turns.push(conversation.messages.len());
            }
            answered = !asks;
            conversation.messages.push(message);
        }
        conversation
    }

    /// One with these messages, of which turns begin at these; `None` if they could not be turns of them.
    pub(crate) fn of_turns(messages: Vec<ChatMessage>, turns: Vec<usize>) -> Option<Self> {
        (turns.is_sorted() && turns.last().is_none_or(|&last| last <= messages.len()))
            .then_some(Self { messages, turns })
    }

    /// Where in the messages each turn begins.
    pub(crate) fn turn_starts(&self) -> &[usize] {
        &self.turns
    }

    /// All messages, in order.
    #[must_use]
    pub fn messages(&self) -> &[ChatMessage] {
        &self.messages
    }

    /// How many turns there are: what was said to the model at once, and its answer.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    /// The messages of a turn, from 0 on; none if there is no such turn.
    #[must_use]
    pub fn turn(&self, turn: usize) -> &[ChatMessage] {
        let Some(&start) = self.turns.get(turn) else { return &[] };
        let end = self.turns.get(turn + 1).copied().unwrap_or(self.messages.len());
        &self.messages[start..end]
    }

    /// Begins a turn.
    pub(crate) fn say(&mut self, messages: impl IntoIterator<Item = ChatMessage>) {
        self.turns.push(self.messages.len());
        self.messages.extend(messages);
    }

    /// Ends it.
    pub(crate) fn answer(&mut self, text: String) {
        self.messages.push(ChatMessage::new("assistant", text));
    }

    /// Forgets this turn and those after it.
    pub(crate) fn rewind(&mut self, turn: usize) {
        if let Some(&start) = self.turns.get(turn) {
            self.messages.truncate(start);
            self.turns.truncate(turn);
        }
    }

    /// Forgets the earliest turn, but for what came before all turns. Whether there was one, beside the last.
    pub(crate) fn forget_first(&mut self) -> bool {
        let &[first, second, ..] = self.turns.as_slice() else { return false };
        self.messages.drain(first..second);
        self.turns.remove(0);
        self.turns.iter_mut().for_each(|turn| *turn -= second - first);
        true
    }
}

/// What a conversation begins with: how the model is to behave. It is read at once, before anything is said, so that whoever
/// begins alike, see [`ForkOf`](super::control::ForkOf), need not read it again.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
///
/// let mut world = World::new();
/// loquent::load(&mut world, "assets/demo-q4", LoadOptions::default())?;
/// let village = world.spawn(SystemPrompt("You live by the sea.".into())).id();
/// let [ann, ben] = [(); 2].map(|()| world.spawn((ForkOf(village), StopRules::after(8))).id());
/// world.entity_mut(ann).say("Where is the key?");
/// world.entity_mut(ben).say("Who are you?");
/// while advance(&mut world, Budget::Step) != Progress::Idle {}
/// assert_eq!(world.get::<Conversation>(ann).unwrap().messages().len(), 3);
/// # Ok::<(), LoadError>(())
/// ```
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(bevy_ecs::reflect::Component, Clone, PartialEq))]
#[component(immutable)]
#[require(Conversation, Queued)]
pub struct SystemPrompt(pub String);

/// Put beside a conversation, it says how the template writes it.
impl Component for ChatOptions {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Mutable;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(messages: &[ChatMessage]) -> Vec<&str> {
        messages.iter().filter_map(ChatMessage::role).collect()
    }

    #[test]
    fn a_conversation_is_cut_into_turns_by_who_asks() {
        let all = ["system", "user", "assistant", "tool", "tool", "assistant", "user"];
        let mut conversation = Conversation::new(all.map(|role| ChatMessage::new(role, role)).into());
        assert_eq!(conversation.turns(), 3);
        assert_eq!(roles(conversation.turn(0)), ["user", "assistant"]);
        assert_eq!(roles(conversation.turn(1)), ["tool", "tool", "assistant"]);
        assert_eq!((roles(conversation.turn(2)), conversation.turn(3)), (vec!["user"], &[][..]));
        assert!(conversation.forget_first());
        assert_eq!(roles(conversation.messages()), ["system", "tool", "tool", "assistant", "user"]);
        assert_eq!(roles(conversation.turn(1)), ["user"]);
        conversation.rewind(1);
        assert_eq!(roles(conversation.messages()), ["system", "tool", "tool", "assistant"]);
        conversation.rewind(7);
        assert!(!conversation.forget_first(), "the last turn stays");
    }
}
