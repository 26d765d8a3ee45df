//! The first half of the `Admit` set: who may run. Sequences come in by the order of their arrival, as far as
//! [`Limits`] go; what cannot run is told why.

use bevy_ecs::prelude::*;

use super::prompt;
use crate::checkpoint::{ChatTemplate, ModelConfig, Tokenizer};
use crate::world::cache::{Caches, OfLayer, OfSequence};
use crate::world::layer::LayerIndex;
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::GenerationDefaults;
use crate::world::refusal::Refusal;
use crate::world::sampler::Sampler;
use crate::world::sequence::{
    Admitted, Arrival, FinishReason, Finished, OfModel, Prompt, Queued, Running, SequenceFinished, StopRules, Tokens,
};
use crate::world::transcript::Transcript;

/// What admission asks of a model.
type Model<'w> = (
    Entity,
    &'w ModelConfig,
    &'w GenerationDefaults,
    &'w CacheCost,
    Option<&'w Tokenizer>,
    Option<&'w ChatTemplate>,
    &'w Children,
);

/// What admission asks of a sequence that waits.
type Waiting<'w> = (
    Entity,
    &'w Arrival,
    &'w Prompt,
    &'w mut Tokens,
    &'w StopRules,
    Option<&'w OfModel>,
    Has<Sampler>,
    Has<Transcript>,
);

/// Ends a sequence for `reason`.
pub(super) fn finish(commands: &mut Commands, sequence: Entity, reason: FinishReason) {
    commands.entity(sequence).remove::<(Queued, Running)>().insert(Finished(reason.clone()));
    commands.trigger(SequenceFinished { sequence, reason, text: String::new() });
}

/// Ends the sequences whose model is no more, and looks at those that are queued again: a clone, which a
/// [`Prompt`] queues like any other, goes on where the original was; one that was let in itself is told no.
pub fn settle(
    mut commands: Commands,
    running: Query<(Entity, &Running)>,
    models: Query<(), With<ModelConfig>>,
    mut again: Query<(Entity, &Admitted, &mut Tokens, Has<Running>, Option<&Caches>), With<Queued>>,
) {
    for (sequence, admitted, mut tokens, is_running, caches) in &mut again {
        if admitted.0 == sequence {
            finish(&mut commands, sequence, FinishReason::Refused(Refusal::AlreadyBegun));
        } else if is_running && caches.is_none_or(RelationshipTarget::is_empty) {
            // Cloned without its caches: it reads again.
            tokens.processed = 0;
            commands.entity(sequence).remove::<(Running, Admitted)>();
        } else {
            commands.entity(sequence).remove::<Queued>().insert(Admitted(sequence));
        }
    }
    for (sequence, _) in running.iter().filter(|(_, running)| !models.contains(running.model)) {
        finish(&mut commands, sequence, FinishReason::ModelDespawned);
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
        models.get(running.model).map_or(0, |(_, _, _, cost, ..)| cost.of(tokens.len()))
    };
    let mut count = running.iter().count();
    let mut bytes = running.iter().map(claim).fold(0, u64::saturating_add);
    for (sequence, _, prompt, mut tokens, rules, of_model, has_sampler, has_transcript) in
        queued.iter_mut().sort::<(&Arrival, Entity)>()
    {
        if count >= limits.running.max(1) {
            break;
        }
        let model = match choose(&models, of_model) {
            Ok(model) => model,
            Err(refusal) => {
                finish(&mut commands, sequence, FinishReason::Refused(refusal));
                continue;
            }
        };
        let (model, config, defaults, cost, tokenizer, template, children) = model;
        // One that comes back to the queue has its tokens already.
        if tokens.is_empty() {
            match prompt::encode(prompt, tokenizer, template) {
                Ok(ids) => tokens.prompt = ids,
                Err(refusal) => {
                    finish(&mut commands, sequence, FinishReason::Refused(refusal));
                    continue;
                }
            }
        }
        let begun = match begin(model, prompt, rules, &tokens, config, defaults, tokenizer) {
            Ok(begun) => begun,
            Err(refusal) => {
                finish(&mut commands, sequence, FinishReason::Refused(refusal));
                continue;
            }
        };
        let needed = cost.of(tokens.len()).saturating_add(cost.block);
        if let Some(limit) = limits.cache_bytes
            && bytes.saturating_add(needed) > limit
        {
            if count > 0 {
                break;
            }
            finish(&mut commands, sequence, FinishReason::CacheFull { needed, limit });
            continue;
        }
        (count, bytes) = (count + 1, bytes.saturating_add(needed));
        for layer in children.iter().filter(|&child| layers.contains(child)) {
            commands.spawn((OfSequence(sequence), OfLayer(layer)));
        }
        let mut entity = commands.entity(sequence);
        entity.remove::<Queued>().insert((Admitted(sequence), begun));
        if !has_sampler && let Ok(sampler) = Sampler::new(defaults.sampling.clone(), 0) {
            entity.insert(sampler);
        }
        if !has_transcript && let Some(tokenizer) = tokenizer {
            entity.insert(Transcript::new(tokenizer.stream(), rules.stop_texts.clone()));
        }
    }
}

/// The model that a sequence names, or the only one.
fn choose<'a>(
    models: &'a Query<Model>,
    named: Option<&OfModel>,
) -> Result<<Model<'static> as bevy_ecs::query::QueryData>::Item<'a, 'a>, Refusal> {
    match named {
        Some(&OfModel(model)) => models.get(model).map_err(|_| Refusal::NoSuchModel(model)),
        None => models.single().map_err(|_| Refusal::ModelNotNamed { models: models.iter().count() }),
    }
}

/// What a sequence goes by, its own rules before the model's.
fn begin(
    model: Entity,
    prompt: &Prompt,
    rules: &StopRules,
    tokens: &Tokens,
    config: &ModelConfig,
    defaults: &GenerationDefaults,
    tokenizer: Option<&Tokenizer>,
) -> Result<Running, Refusal> {
    if !rules.stop_texts.is_empty() && tokenizer.is_none() {
        return Err(Refusal::NoTokenizer { what: "a stop text" });
    }
    let wanted = rules.max_new_tokens.or(defaults.max_new_tokens).unwrap_or(usize::MAX);
    let room = Refusal::room(&tokens.prompt, wanted, config)?;
    let usual = if prompt.is_chat() { &defaults.chat_end_tokens } else { &defaults.end_tokens };
    Ok(Running { model, room, end_tokens: rules.end_tokens.clone().unwrap_or_else(|| usual.clone()) })
}
