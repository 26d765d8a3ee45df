//! Prompts and turns → token ids, by the tokenizer and the chat template of the model that they are for.

use bevy_ecs::prelude::*;

use crate::checkpoint::{ChatMessage, ChatOptions, ChatTemplate, CheckpointError, Tokenizer};
use crate::world::conversation::Conversation;
use crate::world::refusal::Refusal;
use crate::world::sequence::Prompt;
use crate::world::tokens::Tokens;

/// What turns text into tokens, as far as a model has it.
#[derive(Clone, Copy)]
pub(super) struct TextSide<'a> {
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) template: Option<&'a ChatTemplate>,
    pub(super) options: Option<&'a ChatOptions>,
}

impl<'a> TextSide<'a> {
    /// That of `model`, as `sequence` wants it.
    pub(super) fn of(world: &'a World, sequence: Entity, model: Entity) -> Self {
        Self {
            tokenizer: world.get::<Tokenizer>(model),
            template: world.get::<ChatTemplate>(model),
            options: world.get::<ChatOptions>(sequence),
        }
    }

    /// The ids of `prompt`.
    pub(super) fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, Refusal> {
        Ok(match prompt {
            Prompt::Ids(ids) => ids.clone(),
            Prompt::Text(text) => self.tokenizer("a text prompt")?.encode(text, true).map_err(failed)?,
            Prompt::Chat(messages) => {
                let text = self.render(messages)?;
                // What the template has written is complete.
                self.tokenizer("a chat")?.encode(&text, false).map_err(failed)?
            }
        })
    }

    /// The ids of a text that follows others.
    pub(super) fn more(&self, text: &str) -> Result<Vec<u32>, Refusal> {
        self.tokenizer("a text")?.encode(text, false).map_err(failed)
    }

    /// Has `tokens` go on to the answer that `conversation` waits for: of those that are there, it keeps what the template
    /// still writes so, and what follows is tokenised. Returns how many of those read can stay so.
    pub(super) fn turn(&self, conversation: &Conversation, tokens: &mut Tokens) -> Result<usize, Refusal> {
        let tokenizer = self.tokenizer("a chat")?;
        let text = self.render(conversation.messages())?;
        let ids: Vec<u32> = tokens.iter().collect();
        let kept = tokenizer.common_prefix(&ids, &text, |place| tokens.is_spoken(place));
        let new = tokenizer.encode(&text[kept.bytes..], false).map_err(failed)?;
        let read = tokens.turn(kept.ids, new);
        tokens.keep_at = Some(self.parting(conversation, tokens));
        Ok(read)
    }

    /// The ids of what `conversation` begins with whatever is said first.
    pub(super) fn opening(&self, conversation: &Conversation) -> Result<Vec<u32>, Refusal> {
        let tokenizer = self.tokenizer("a chat")?;
        let [one, other] = ["one", "other"].map(|said| {
            let said = ChatMessage::new("user", said);
            self.render(&[conversation.messages(), &[said]].concat())
        });
        let (one, other) = (one?, other?);
        tokenizer.encode_open(&one[..common(&one, &other)]).map_err(failed)
    }

    /// Where the turn after this one parts from what `tokens` hold, before the answer: templates may write an answer that
    /// was given otherwise than they had asked for it, without what it thought.
    fn parting(&self, conversation: &Conversation, tokens: &Tokens) -> usize {
        let last = tokens.len().saturating_sub(1);
        let more = [ChatMessage::new("assistant", "answer"), ChatMessage::new("user", "next")];
        let Ok(text) = self.render(&[conversation.messages(), &more].concat()) else { return last };
        let Some(tokenizer) = self.tokenizer else { return last };
        tokenizer.common_prefix(&tokens.prompt, &text, |place| tokens.is_spoken(place)).ids.min(last)
    }

    /// A conversation up to where the assistant begins to speak.
    fn render(&self, messages: &[ChatMessage]) -> Result<String, Refusal> {
        let template = self.template.ok_or(Refusal::NoChatTemplate)?;
        let options = self.options.cloned().unwrap_or_default();
        template.render(messages, &ChatOptions { add_generation_prompt: true, ..options }).map_err(failed)
    }

    fn tokenizer(&self, what: &'static str) -> Result<&Tokenizer, Refusal> {
        self.tokenizer.ok_or(Refusal::NoTokenizer { what })
    }
}

fn failed(error: CheckpointError) -> Refusal {
    Refusal::Text(error.to_string())
}

/// How many bytes two texts begin alike with.
fn common(one: &str, other: &str) -> usize {
    let alike = one.char_indices().zip(other.chars()).find(|&((_, one), other)| one != other);
    alike.map_or(one.len().min(other.len()), |((at, _), _)| at)
}
