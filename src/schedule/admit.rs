//! The first half of the `Admit` set: who may run. Sequences come in by the order of their arrival, as far as
//! [`Limits`] go; what cannot run is told why.

use std::collections::HashMap;

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;

use super::finish::finish;
use super::prompt;
use crate::checkpoint::{ChatOptions, ChatTemplate, ModelConfig, Tokenizer};
use crate::world::cache::{Caches, OfLayer, OfSequence};
use crate::world::layer::LayerIndex;
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::{GenerationDefaults, Unavailable};
use crate::world::refusal::Refusal;
use crate::world::sampler::Sampler;
use crate::world::sequence::{Admitted, Arrival, FinishReason, OfModel, Prompt, Queued, Running, StopRules, Tokens};
use crate::world::transcript::Transcript;

/// What admission asks of a model.
#[derive(QueryData)]
pub struct Model {
    entity: Entity,
    config: &'static ModelConfig,
    defaults: &'static GenerationDefaults,
    cost: &'static CacheCost,
    tokenizer: Option<&'static Tokenizer>,
    chat_template: Option<&'static ChatTemplate>,
    children: &'static Children,
    unavailable: Has<Unavailable>,
}

/// What admission asks of a sequence that waits.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Waiting {
    entity: Entity,
    arrival: &'static Arrival,
    prompt: &'static Prompt,
    chat_options: Option<&'static ChatOptions>,
    tokens: &'static mut Tokens,
    rules: &'static StopRules,
    of_model: Option<&'static OfModel>,
    has_sampler: Has<Sampler>,
    has_transcript: Has<Transcript>,
}

/// What is asked of a sequence that was let in and is queued again.
type Again<'w> = (Entity, &'w Admitted, &'w mut Tokens, Has<Running>, Option<&'w Caches>);

/// Ends the sequences whose model is no more, and looks at those that are queued again: a clone, which a
/// [`Prompt`] queues like any other, goes on where the original was; one that was let in itself is told no.
pub fn settle(
    mut commands: Commands,
    running: Query<(Entity, &Running)>,
    models: Query<(), With<ModelConfig>>,
    mut again: Query<Again, With<Queued>>,
) {
    for (sequence, admitted, mut tokens, is_running, caches) in &mut again {
        if admitted.0 == sequence {
            finish(&mut commands, sequence, FinishReason::Refused(Refusal::AlreadyBegun), String::new());
        } else if is_running && caches.is_none_or(RelationshipTarget::is_empty) {
            // Cloned without its caches: it reads again.
            tokens.processed = 0;
            commands.entity(sequence).remove::<(Running, Admitted)>();
        } else {
            commands.entity(sequence).remove::<Queued>().insert(Admitted(sequence));
        }
    }
    for (sequence, _) in running.iter().filter(|(_, running)| !models.contains(running.model)) {
        finish(&mut commands, sequence, FinishReason::ModelDespawned, String::new());
    }
}

/// Gives queued sequences their cache entities, one per layer, or refuses them. What is in a cache is the backend's
/// business: it fills in those that are new.
pub fn admit_queued(
    mut commands: Commands,
    limits: Res<Limits>,
    models: Query<Model>,
    layers: Query<Entity, With<LayerIndex>>,
    running: Query<(&Running, &Tokens), Without<Queued>>,
    mut queued: Query<Waiting, With<Queued>>,
    mut warned: Local<bool>,
) {
    if models.is_empty() {
        if !queued.is_empty() && !std::mem::replace(&mut *warned, true) {
            tracing::warn!("a sequence waits for a model, and there is none: `loquent::load` brings one");
        }
        return;
    }
    let claim = |(running, tokens): (&Running, &Tokens)| {
        models.get(running.model).map_or(0, |model| model.cost.of(tokens.len()))
    };
    let mut count = running.iter().count();
    // Of each model, the sequences that run and the blocks that they have.
    let mut used: HashMap<Entity, (usize, u64)> = HashMap::new();
    for (running, tokens) in &running {
        let (sequences, blocks) = used.entry(running.model).or_default();
        *sequences += 1;
        *blocks += models.get(running.model).map_or(0, |model| model.cost.blocks(tokens.len()));
    }
    let mut bytes = running.iter().map(claim).fold(0, u64::saturating_add);
    let mut waiting: Vec<_> = queued.iter_mut().collect();
    waiting.sort_unstable_by_key(|sequence| (*sequence.arrival, sequence.entity));
    for mut sequence in waiting {
        if count >= limits.running.max(1) {
            break;
        }
        if choose(&models, sequence.of_model).is_ok_and(|model| model.unavailable) {
            continue;
        }
        let begun = choose(&models, sequence.of_model).and_then(|model| Ok((begin(&model, &mut sequence)?, model)));
        let (begun, model) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                finish(&mut commands, sequence.entity, FinishReason::Refused(refusal), String::new());
                continue;
            }
        };
        let needed = model.cost.of(sequence.tokens.len()).saturating_add(model.cost.block);
        if let Some(limit) = limits.cache_bytes
            && bytes.saturating_add(needed) > limit
        {
            if count > 0 {
                break;
            }
            finish(&mut commands, sequence.entity, FinishReason::CacheFull { needed, limit }, String::new());
            continue;
        }
        let (sequences, blocks) = used.entry(model.entity).or_default();
        let needed_blocks = model.cost.blocks(sequence.tokens.len()).saturating_add(1);
        if *sequences >= model.cost.most_sequences || blocks.saturating_add(needed_blocks) > model.cost.most_blocks {
            if *sequences > 0 {
                // Those that run make room when they end; another model may have some.
                continue;
            }
            let limit = model.cost.block.saturating_mul(model.cost.most_blocks);
            finish(&mut commands, sequence.entity, FinishReason::CacheFull { needed, limit }, String::new());
            continue;
        }
        (*sequences, *blocks) = (*sequences + 1, *blocks + needed_blocks);
        (count, bytes) = (count + 1, bytes.saturating_add(needed));
        for layer in model.children.iter().filter(|&child| layers.contains(child)) {
            commands.spawn((OfSequence(sequence.entity), OfLayer(layer)));
        }
        let mut entity = commands.entity(sequence.entity);
        entity.remove::<Queued>().insert((Admitted(sequence.entity), begun));
        if !sequence.has_sampler {
            entity.insert(Sampler::new(model.defaults.sampling.clone(), 0).unwrap_or_default());
        }
        if let (false, Some(tokenizer)) = (sequence.has_transcript, model.tokenizer) {
            entity.insert(Transcript::new(tokenizer.stream(), sequence.rules.stop_texts.clone()));
        }
    }
}

/// The model that a sequence names, or the only one.
fn choose<'a>(models: &'a Query<Model>, named: Option<&OfModel>) -> Result<ModelItem<'a, 'a>, Refusal> {
    match named {
        Some(&OfModel(model)) => models.get(model).map_err(|_| Refusal::NoSuchModel(model)),
        None => models.single().map_err(|_| Refusal::ModelNotNamed { models: models.iter().count() }),
    }
}

/// Reads the prompt, unless the sequence comes back to the queue and has its tokens, and says what it goes by: its own
/// rules before the model's.
fn begin(model: &ModelItem<'_, '_>, sequence: &mut WaitingItem<'_, '_>) -> Result<Running, Refusal> {
    let (rules, defaults) = (sequence.rules, model.defaults);
    if !rules.stop_texts.is_empty() && model.tokenizer.is_none() {
        return Err(Refusal::NoTokenizer { what: "a stop text" });
    }
    if sequence.tokens.is_empty() {
        let options = sequence.chat_options;
        sequence.tokens.prompt = prompt::encode(sequence.prompt, options, model.tokenizer, model.chat_template)?;
    }
    let wanted = rules.max_new_tokens.or(defaults.max_new_tokens).unwrap_or(usize::MAX);
    let room = Refusal::room(&sequence.tokens.prompt, wanted, model.config)?;
    let usual = if sequence.prompt.is_chat() { &defaults.chat_end_tokens } else { &defaults.end_tokens };
    let end_tokens = rules.end_tokens.as_ref().unwrap_or(usual).clone();
    Ok(Running { model: model.entity, room, end_tokens })
}
