//! The part of the `Admit` set that says who may run. Sequences come in by priority and by the order of their arrival, as
//! far as [`Limits`] go; what cannot run is told why, and what waits, for what.

use std::collections::HashMap;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::{Allow, QueryData};

use super::choose::choose;
use super::finish::{finish_later, forget_later, read_again_later};
use super::prompt::TextSide;
use crate::checkpoint::{ChatMessage, ChatOptions, ChatTemplate, ModelConfig, Tokenizer};
use crate::sampling::Sampling;
use crate::world::cache::{Caches, OfLayer, OfSequence};
use crate::world::control::{ForkOf, Paused, Priority};
use crate::world::conversation::{Conversation, SystemPrompt};
use crate::world::draft::DraftsFor;
use crate::world::layer::LayerIndex;
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::{GenerationDefaults, ModelState, Unavailable};
use crate::world::refusal::Refusal;
use crate::world::sampler::{Sampler, Seed};
use crate::world::sequence::{
    Admitted, Arrival, FinishReason, Finished, Prompt, Queued, Running, SpeaksWith, StopRules, Waits,
};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// What admission asks of a model.
#[derive(QueryData)]
pub struct Model {
    entity: Entity,
    config: &'static ModelConfig,
    defaults: &'static GenerationDefaults,
    cost: &'static CacheCost,
    tokenizer: Option<&'static Tokenizer>,
    template: Option<&'static ChatTemplate>,
    children: &'static Children,
    unavailable: Has<Unavailable>,
}

/// What admission asks of a sequence that waits.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Waiting {
    entity: Entity,
    arrival: &'static Arrival,
    priority: Option<&'static Priority>,
    prompt: Option<&'static Prompt>,
    system: Option<&'static SystemPrompt>,
    conversation: Option<&'static mut Conversation>,
    options: Option<&'static ChatOptions>,
    tokens: &'static mut Tokens,
    rules: &'static StopRules,
    speaks_with: Option<&'static SpeaksWith>,
    has_sampler: Has<Sampler>,
    sampling: Option<&'static Sampling>,
    seed: Option<&'static Seed>,
    has_transcript: Has<Transcript>,
    drafts_for: Option<&'static DraftsFor>,
    caches: Option<&'static Caches>,
}

/// What is asked of a sequence that was let in and is queued again.
type Again<'w> = (Entity, &'w Admitted, &'w mut Tokens, Has<Running>, Has<Finished>, Option<&'w Caches>);

/// Sequences that are neither in nor out: a host has taken their marker away.
type Astray = (Without<Running>, Without<Queued>, Without<Finished>);

/// Ends the sequences whose model is no more, and looks at those that are queued again: a clone, which a [`Prompt`] queues like
/// any other, goes on where the original was. Those that have nothing left to read though they are to go on read again.
pub fn settle(
    mut commands: Commands,
    running: Query<(Entity, &Running, &Tokens, Option<&Caches>), Without<Queued>>,
    models: Query<(), With<ModelConfig>>,
    mut again: Query<Again, With<Queued>>,
    astray: Query<Entity, (With<Admitted>, Astray)>,
) {
    for (sequence, admitted, mut tokens, is_running, is_finished, caches) in &mut again {
        let has_caches = caches.is_some_and(|caches| !caches.is_empty());
        if !has_caches {
            // Cloned without its caches: it reads again.
            tokens.processed = 0;
        }
        if is_finished || is_running && has_caches {
            let admitted = Admitted { sequence, model: admitted.model };
            commands.entity(sequence).try_remove::<Queued>().try_insert(admitted);
        } else {
            commands.entity(sequence).try_remove::<(Running, Admitted)>();
        }
    }
    for sequence in &astray {
        commands.entity(sequence).try_remove::<Admitted>().try_insert(Queued);
    }
    for (sequence, running, tokens, caches) in &running {
        if !models.contains(running.model) {
            finish_later(&mut commands, sequence, FinishReason::ModelDespawned);
        } else if tokens.unread().next().is_none()
            || caches.is_none_or(RelationshipTarget::is_empty) && tokens.processed > 0
        {
            // What came of its last row was lost.
            read_again_later(&mut commands, sequence);
        }
    }
}

/// Memory that caches take, of a model or of all.
#[derive(Clone, Copy, Default)]
struct Used {
    sequences: usize,
    states: usize,
    blocks: u64,
    bytes: u64,
}

impl Used {
    fn add(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.states += other.states;
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn subtract(&mut self, other: Self) {
        self.sequences = self.sequences.saturating_sub(other.sequences);
        self.states = self.states.saturating_sub(other.states);
        self.blocks = self.blocks.saturating_sub(other.blocks);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// Sequences with caches, at rest or taking part in steps, disabled ones included.
type Holding<'w> = (Entity, &'w Admitted, &'w Arrival, &'w Tokens, Has<Running>, Has<Conversation>, Has<DraftsFor>);

/// Which those are.
type Holds = (With<Caches>, Without<Queued>, Allow<Disabled>);

/// Sequences that may be let in.
type ToBeLetIn = (With<Queued>, Without<ForkOf>, Without<Paused>);

/// Gives queued sequences their cache entities, one per layer, or refuses them. What is in a cache is the backend's
/// business: it fills in those that are new. Where there is no room, sequences at rest give up theirs.
pub fn admit_queued(
    mut commands: Commands,
    limits: Res<Limits>,
    models: Query<Model>,
    states: Query<(Entity, &ModelState)>,
    layers: Query<Entity, With<LayerIndex>>,
    holding: Query<Holding, Holds>,
    mut queued: Query<Waiting, ToBeLetIn>,
    mut warned: Local<bool>,
) {
    if queued.is_empty() {
        return;
    }
    if states.is_empty() && !std::mem::replace(&mut *warned, true) {
        tracing::warn!("a sequence waits for a model, and there is none: `loquent::load` brings one");
    }
    let mut all = Used::default();
    let mut of_model: HashMap<Entity, Used> = HashMap::new();
    let mut at_rest = Vec::new();
    for (entity, admitted, arrival, tokens, runs, talks, drafts) in &holding {
        let Ok(model) = models.get(admitted.model) else { continue };
        let positions = if runs { tokens.len() } else { tokens.processed };
        let kept = limits.kept_states_of(talks);
        let used = Used {
            sequences: usize::from(runs && !drafts),
            states: 1 + kept,
            blocks: model.cost.blocks(positions),
            bytes: model.cost.of_keeping(positions, kept),
        };
        all.add(used);
        of_model.entry(admitted.model).or_default().add(used);
        if !runs {
            at_rest.push((*arrival, entity, admitted.model, used));
        }
    }
    at_rest.sort_unstable_by_key(|&(arrival, entity, ..)| std::cmp::Reverse((arrival, entity)));
    let mut waiting: Vec<_> = queued.iter_mut().collect();
    waiting.sort_unstable_by_key(|sequence| {
        let priority = sequence.priority.copied().unwrap_or_default();
        (sequence.drafts_for.is_some(), std::cmp::Reverse(priority), *sequence.arrival, sequence.entity)
    });
    let mut waiting = waiting.into_iter();
    let mut held_back = None;
    for mut sequence in waiting.by_ref() {
        if all.sequences >= limits.running.max(1) && sequence.drafts_for.is_none() {
            held_back = Some((sequence.entity, Waits::ForTurn));
            break;
        }
        let chosen = match sequence.drafts_for {
            Some(drafts_for) => Ok(Some(drafts_for.model)),
            None => choose(states.iter(), sequence.speaks_with.copied()),
        };
        let model = match chosen {
            Ok(Some(model)) => models.get(model).map_err(|_| Refusal::NoSuchModel(model)),
            Ok(None) => {
                commands.entity(sequence.entity).try_insert(Waits::ForModel);
                continue;
            }
            Err(refusal) => Err(refusal),
        };
        if model.as_ref().is_ok_and(|model| model.unavailable) {
            commands.entity(sequence.entity).try_insert(Waits::ForModel);
            continue;
        }
        let has_caches = sequence.caches.is_some_and(|caches| !caches.is_empty());
        if !has_caches {
            // Cloned without its caches, for example: nothing of it has been read.
            sequence.tokens.processed = 0;
        }
        let begun = model.and_then(|model| Ok((begin(&model, &mut sequence)?, model)));
        let (begun, model) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                finish_later(&mut commands, sequence.entity, FinishReason::Refused(refusal));
                continue;
            }
        };
        let kept = limits.kept_states_of(sequence.conversation.is_some());
        let bytes = model.cost.of_keeping(sequence.tokens.len(), kept).saturating_add(model.cost.block);
        let blocks = model.cost.blocks(sequence.tokens.len()).saturating_add(1);
        let counted = usize::from(sequence.drafts_for.is_none());
        let needed = Used { sequences: counted, states: 1 + kept, blocks, bytes };
        let fits = |all: &Used, of_model: &HashMap<Entity, Used>| {
            let used = of_model.get(&model.entity).copied().unwrap_or_default();
            let limit = limits.cache_bytes.unwrap_or(u64::MAX);
            (
                all.bytes.saturating_add(bytes) <= limit,
                used.states.saturating_add(needed.states) <= model.cost.most_sequences
                    && used.blocks.saturating_add(blocks) <= model.cost.most_blocks,
            )
        };
        // Whoever has said nothing for longest forgets first.
        while fits(&all, &of_model) != (true, true)
            && let Some(index) =
                at_rest.iter().rposition(|&(_, _, of, _)| !fits(&all, &of_model).0 || of == model.entity)
        {
            let (_, resting, of, used) = at_rest.remove(index);
            all.subtract(used);
            of_model.entry(of).or_default().subtract(used);
            forget_later(&mut commands, resting);
        }
        match fits(&all, &of_model) {
            (true, true) => {}
            (false, _) if all.sequences > 0 => {
                held_back = Some((sequence.entity, Waits::ForMemory { needed: bytes }));
                break;
            }
            (true, _) if of_model.get(&model.entity).is_some_and(|used| used.sequences > 0) => {
                // Those that run make room when they end; another model may have some.
                commands.entity(sequence.entity).try_insert(Waits::ForMemory { needed: bytes });
                continue;
            }
            (within_bytes, _) => {
                let limit = limits.cache_bytes.filter(|_| !within_bytes);
                let limit = limit.unwrap_or(model.cost.block.saturating_mul(model.cost.most_blocks));
                finish_later(&mut commands, sequence.entity, FinishReason::CacheFull { needed: bytes, limit });
                continue;
            }
        }
        all.add(needed);
        of_model.entry(model.entity).or_default().add(needed);
        let layers = model.children.iter().filter(|&child| !has_caches && layers.contains(child)).collect();
        // Whoever heard that one before it was refused may have despawned it.
        commands.entity(sequence.entity).queue_silenced(|sequence: EntityWorldMut| begun.let_in(sequence, layers));
    }
    if let Some((sequence, why)) = held_back {
        commands.entity(sequence).try_insert(why);
        waiting.for_each(|sequence| _ = commands.entity(sequence.entity).try_insert(why));
    }
}

/// What a sequence goes by once it is let in.
struct Begun {
    running: Running,
    conversation: Option<Conversation>,
    sampler: Option<Sampler>,
    transcript: Option<Transcript>,
}

impl Begun {
    /// Lets `sequence` in, with new caches for some layers.
    fn let_in(self, mut sequence: EntityWorldMut<'_>, layers: Vec<Entity>) {
        let entity = sequence.id();
        let Self { running, conversation, sampler, transcript } = self;
        sequence.world_scope(|world| {
            layers.into_iter().for_each(|layer| _ = world.spawn((OfSequence(entity), OfLayer(layer))));
        });
        sequence.remove::<(Queued, Waits)>().insert((Admitted { sequence: entity, model: running.model }, running));
        conversation.into_iter().for_each(|conversation| _ = sequence.insert(conversation));
        sampler.into_iter().for_each(|sampler| _ = sequence.insert(sampler));
        transcript.into_iter().for_each(|transcript| _ = sequence.insert(transcript));
    }
}

/// Reads the prompt, unless the sequence has its tokens already, and says what it goes by: its own rules before the model's.
fn begin(model: &ModelItem<'_, '_>, sequence: &mut WaitingItem<'_, '_>) -> Result<Begun, Refusal> {
    let (rules, defaults) = (sequence.rules, model.defaults);
    if !rules.stop_texts.is_empty() && model.tokenizer.is_none() {
        return Err(Refusal::NoTokenizer { what: "a stop text" });
    }
    let text = TextSide { tokenizer: model.tokenizer, template: model.template, options: sequence.options };
    let mut conversation = None;
    let mut only_reads = false;
    if sequence.tokens.is_empty() {
        match (sequence.prompt, sequence.system) {
            (Some(Prompt::Chat(messages)), _) => {
                let begun = Conversation::new(messages.clone());
                text.turn(&begun, &mut sequence.tokens)?;
                conversation = Some(begun);
            }
            (Some(prompt), _) => sequence.tokens.prompt = text.prompt(prompt)?,
            (None, Some(SystemPrompt(system))) => {
                let begun = Conversation::new(vec![ChatMessage::new("system", system)]);
                sequence.tokens.prompt = text.opening(&begun)?;
                (only_reads, conversation) = (true, Some(begun));
            }
            (None, None) => return Err(Refusal::EmptyPrompt),
        }
    } else if let Some(current) = &sequence.conversation {
        // Read again before anything was said.
        only_reads = current.turns() == 0;
    }
    let wanted = if only_reads { Some(0) } else { rules.max_new_tokens.or(defaults.max_new_tokens) };
    let room = Refusal::room(&sequence.tokens.prompt, wanted.unwrap_or(usize::MAX), model.config)?;
    let is_chat = conversation.is_some() || sequence.conversation.is_some();
    let usual = if is_chat { &defaults.chat_end_tokens } else { &defaults.end_tokens };
    let sampler = match (sequence.has_sampler, sequence.sampling) {
        (true, _) => None,
        (false, None) => Some(Sampler::new(defaults.sampling.clone(), 0).unwrap_or_default()),
        (false, Some(sampling)) => {
            let seed = sequence.seed.copied().unwrap_or_default();
            Some(Sampler::new(sampling.clone(), seed.0).map_err(|error| Refusal::Sampling(error.to_string()))?)
        }
    };
    let running = Running {
        model: model.entity,
        room,
        is_full_then: wanted.is_none_or(|wanted| room < wanted),
        only_reads,
        end_tokens: rules.end_tokens.as_ref().unwrap_or(usual).clone(),
    };
    let is_heard = sequence.drafts_for.is_none();
    let transcript = model.tokenizer.filter(|_| is_heard && !sequence.has_transcript);
    let transcript = transcript.map(|tokenizer| Transcript::new(tokenizer.stream(), rules.stop_texts.clone()));
    Ok(Begun { running, conversation, sampler, transcript })
}
