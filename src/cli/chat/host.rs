//! The conversation in its world: what it is told, and what is heard of it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bevy_ecs::prelude::{Bundle, Entity, IntoScheduleConfigs, Messages, On, Query, Res, ResMut, Resource, With, World};
use loquent::checkpoint::Tokenizer;
use loquent::prelude::*;
use loquent::schedule::BeginStep;
use loquent::world::batch::Batch;
use serde_json::Value;

use super::thoughts;
use super::turn::Turn;
use super::voice::Voice;
use crate::cli::compute::ComputeArgs;
use crate::cli::draft::DraftArgs;
use crate::cli::{ending, interrupt, model, progress};

/// A world with one model and one conversation in it.
pub(super) struct Host {
    world: World,
    sequence: Entity,
    budget: Budget,
}

/// What a turn comes to.
#[derive(Resource, Default)]
struct Outcome {
    /// Why it ended, once it has.
    reason: Option<FinishReason>,
    /// How many tokens were read of what comes before the answer.
    read: usize,
}

fn count_read(batch: Res<Batch>, mut outcome: ResMut<Outcome>, conversations: Query<&Tokens, With<Conversation>>) {
    for span in &batch.spans {
        let prompt = conversations.get(span.sequence).map_or(0, |tokens| tokens.prompt.len());
        let positions = &batch.positions[span.rows.clone()];
        outcome.read += positions.iter().filter(|&&position| (position as usize) < prompt).count();
    }
}

fn note_end(finished: On<SequenceFinished>, mut outcome: ResMut<Outcome>) {
    outcome.reason = Some(finished.reason.clone());
}

impl Host {
    /// A conversation with a model, by these settings.
    pub(super) fn new(model: LoadedModel, settings: impl Bundle) -> Self {
        let mut world = model::world(model);
        world.init_resource::<Outcome>();
        world.add_observer(note_end);
        world.schedule_scope(BeginStep, |_, schedule| {
            schedule.add_systems(count_read.after(StepSystems::Admit));
        });
        let sequence = world.spawn((Conversation::default(), settings)).id();
        let budget = model::budget(&mut world);
        Self { world, sequence, budget }
    }

    /// From now on, what is said next is guessed.
    pub(super) fn guess(&mut self, draft: &DraftArgs, compute: &ComputeArgs) -> anyhow::Result<()> {
        if let Some(guesses) = draft.install(&mut self.world, compute)? {
            self.world.entity_mut(self.sequence).insert(guesses);
        }
        Ok(())
    }

    /// From now on, a full context makes it forget its earliest turns.
    pub(super) fn forgets(&mut self) {
        self.world.entity_mut(self.sequence).insert(Forgetful::default());
    }

    /// Begins a conversation in place of the one there was. Returns what it waits to have answered.
    pub(super) fn begin(&mut self, request: ChatRequest) -> Vec<ChatMessage> {
        let ChatRequest { mut messages, tools } = request;
        let conversation = Conversation::new(messages.clone());
        let last = conversation.turn(conversation.turns().saturating_sub(1));
        let is_answered = last.iter().any(is_answer);
        let asked = messages.split_off(messages.len() - if is_answered { 0 } else { last.len() });
        let mut sequence = self.world.entity_mut(self.sequence);
        sequence.insert(Conversation::new(messages));
        if let Some(mut options) = sequence.get_mut::<ChatOptions>() {
            options.tools = tools;
        }
        asked
    }

    /// Forgets all that was said but what came before all turns.
    pub(super) fn clear(&mut self) {
        self.world.entity_mut(self.sequence).rewind(0);
        self.settle();
    }

    /// Says something to the model.
    pub(super) fn say(&mut self, text: &str, voice: &mut Voice) -> anyhow::Result<Turn> {
        self.ask(vec![ChatMessage::new("user", text)], voice)
    }

    /// Tells it messages of any role.
    pub(super) fn ask(&mut self, messages: Vec<ChatMessage>, voice: &mut Voice) -> anyhow::Result<Turn> {
        self.turn(None, messages, voice)
    }

    /// Asks what was asked last once more. The sampler goes on, so that another answer may come of it.
    pub(super) fn retry(&mut self, voice: &mut Voice) -> anyhow::Result<Turn> {
        let last = self.last_turn()?;
        let asked = self.conversation().turn(last).iter().take_while(|message| !is_answer(message));
        let asked = asked.cloned().collect();
        self.turn(Some(last), asked, voice)
    }

    /// Asks something else in place of what was asked last.
    pub(super) fn edit(&mut self, text: &str, voice: &mut Voice) -> anyhow::Result<Turn> {
        let last = self.last_turn()?;
        self.turn(Some(last), vec![ChatMessage::new("user", text)], voice)
    }

    /// What was asked last.
    pub(super) fn last_question(&self) -> anyhow::Result<&str> {
        let asked = self.conversation().turn(self.last_turn()?);
        let question = asked.iter().find(|message| message.role() == Some("user"));
        question.and_then(ChatMessage::content).context("what was asked last is no message of yours")
    }

    fn last_turn(&self) -> anyhow::Result<usize> {
        self.conversation().turns().checked_sub(1).context("nothing was asked yet")
    }

    pub(super) fn conversation(&self) -> &Conversation {
        self.world.get(self.sequence).expect("the sequence is a conversation")
    }

    /// What it begins with, if that is a system message.
    pub(super) fn system(&self) -> Option<&str> {
        let first = self.conversation().messages().first()?;
        first.content().filter(|_| first.role() == Some("system"))
    }

    pub(super) fn tools(&self) -> &[Value] {
        self.world.get::<ChatOptions>(self.sequence).map_or(&[], |options| &options.tools)
    }

    /// How many tokens a conversation may have.
    pub(super) fn context(&mut self) -> usize {
        let named = self.world.get::<SpeaksWith>(self.sequence).map(|model| model.0);
        let mut models = self.world.query::<(Entity, &ModelConfig)>();
        let model = models.iter(&self.world).find(|(model, _)| named.is_none_or(|named| *model == named));
        model.map_or(0, |(_, config)| config.max_position_embeddings)
    }

    /// Whether so many new tokens are as many as there may be.
    pub(super) fn is_limited_to(&self, new: usize) -> bool {
        self.world.get::<StopRules>(self.sequence).is_some_and(|rules| rules.max_new_tokens == Some(new))
    }

    /// Takes a turn in place of the one `from` which on all is taken back, or after all. If there is no answer, all is as it was.
    fn turn(&mut self, from: Option<usize>, asked: Vec<ChatMessage>, voice: &mut Voice) -> anyhow::Result<Turn> {
        let before = self.conversation().clone();
        self.world.insert_resource(Outcome::default());
        let mut sequence = self.world.entity_mut(self.sequence);
        if let Some(turn) = from {
            sequence.rewind(turn);
        }
        for message in asked {
            sequence.tell(message);
        }
        let taken = interrupt::heed(|| self.until_ended(voice));
        if taken.is_err() {
            self.world.entity_mut(self.sequence).remove::<Say>().stop();
            self.settle();
        }
        if taken.as_ref().map_or(true, |turn| turn.new == 0) {
            self.world.entity_mut(self.sequence).insert(before);
        }
        taken
    }

    /// Has what was requested of a sequence at rest take effect.
    fn settle(&mut self) {
        while advance(&mut self.world, self.budget) != Progress::Idle {}
    }

    fn until_ended(&mut self, voice: &mut Voice) -> anyhow::Result<Turn> {
        let started = Instant::now();
        let (mut bar, mut first_token, mut forgotten) = (None, None, 0);
        loop {
            if interrupt::requested() && self.world.get::<Stop>(self.sequence).is_none() {
                self.world.entity_mut(self.sequence).stop();
            }
            let progress = advance(&mut self.world, self.budget);
            let sequence = self.world.entity(self.sequence);
            let tokens = sequence.get::<Tokens>().expect("a conversation requires its tokens");
            if !sequence.contains::<Say>() {
                if bar.is_none() {
                    voice.begin(self.thinks(tokens));
                }
                let bar = bar.get_or_insert_with(|| progress::prompt(tokens.processed, tokens.prompt.len()));
                bar.set_position(tokens.processed as u64);
                if first_token.is_none() && !tokens.generated.is_empty() {
                    bar.finish_and_clear();
                    first_token = Some(started.elapsed());
                }
            }
            self.world.resource_mut::<Messages<TokenGenerated>>().clear();
            for Spoken { text, .. } in self.world.resource_mut::<Messages<Spoken>>().drain() {
                voice.say(&text)?;
            }
            for TurnsForgotten { turns, .. } in self.world.resource_mut::<Messages<TurnsForgotten>>().drain() {
                forgotten += turns;
            }
            if let Some(reason) = self.world.resource_mut::<Outcome>().reason.take() {
                bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
                let (reason, total) = (ending::name(&reason)?, started.elapsed());
                let prefill = first_token.unwrap_or(total);
                return Ok(self.turn_taken(reason, prefill, total - prefill, forgotten));
            }
            if progress == Progress::Idle {
                model::ensure_available(&mut self.world)?;
                bail!("the conversation was dropped before it was answered")
            }
        }
    }

    fn turn_taken(&self, reason: &'static str, prefill: Duration, decode: Duration, forgotten: usize) -> Turn {
        let tokens = self.world.get::<Tokens>(self.sequence).expect("a conversation requires its tokens");
        let (prompt, new) = (tokens.prompt.len(), tokens.generated.len());
        let read = self.world.resource::<Outcome>().read.min(prompt);
        let draft = DraftArgs::record(&self.world, self.sequence);
        Turn { reason, prompt, cached: prompt - read, new, prefill, decode, forgotten, draft }
    }

    /// Whether the prompt ends where the assistant thinks.
    fn thinks(&self, tokens: &Tokens) -> bool {
        /// No tokenizer needs more for the mark and the line feeds after it.
        const MOST: usize = 16;
        let end = &tokens.prompt[tokens.prompt.len().saturating_sub(MOST)..];
        let mut tokenizers = self.world.try_query::<&Tokenizer>();
        let tokenizer = tokenizers.as_mut().and_then(|tokenizers| tokenizers.iter(&self.world).next());
        let text = tokenizer.and_then(|tokenizer| tokenizer.decode(end, false).ok());
        text.is_some_and(|text| text.trim_end().ends_with(thoughts::BEGIN))
    }
}

fn is_answer(message: &ChatMessage) -> bool {
    message.role() == Some("assistant")
}
