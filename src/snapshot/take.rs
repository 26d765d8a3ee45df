//! A sequence in a world → a snapshot.

use bevy_ecs::name::Name;
use bevy_ecs::prelude::*;

use super::computer::{Backend, Computer};
use super::envelope::{self, PREFIX};
use super::error::SnapshotError;
use super::header::{
    Asked, Contents, Ending, Guesses, Header, Ids, Options, Picker, Rules, Sequence, Settings, Single, Status, Talk,
};
use super::hex::Hex;
use super::layers::{Layer, Layout};
use super::numbers::Writer;
use super::{Snapshot, check, cpu};
use crate::checkpoint::{ChatOptions, ModelConfig};
use crate::sampling::Sampling;
use crate::schedule::{Budget, Full, TakenBack, advance};
use crate::world::cache::{Caches, OfLayer};
use crate::world::control::{Forgetful, ForkOf, Paused, Priority, Rewind, Say, Stop};
use crate::world::conversation::{Conversation, SystemPrompt};
use crate::world::cursor::Cursor;
use crate::world::fingerprint::Fingerprint;
use crate::world::layer::layers_of;
use crate::world::model::Unavailable;
use crate::world::mtp::HeadOf;
use crate::world::sampler::{Sampler, Seed};
use crate::world::sequence::{
    Admitted, FinishReason, Finished, HostLogits, LogitsFrom, Prompt, Queued, Running, SpeaksWith, StopRules,
};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

impl Snapshot {
    /// Saves a sequence, which stays as it is and goes on. A step that is in hand is finished first, for all who are in it.
    ///
    /// Of the caches it has what `contents` say, unless they hold nothing, or are on a device that is lost: it has the tokens
    /// only then, and [`contents`](Self::contents) says so.
    ///
    /// # Errors
    /// If `sequence` is none, waits to become a fork of another, or has no model; if it has more to say than a header may hold;
    /// or if a device fails.
    pub fn take(world: &mut World, sequence: Entity, contents: Contents) -> Result<Self, SnapshotError> {
        while world.get_resource::<Cursor>().is_some_and(|cursor| *cursor != Cursor::Begin) {
            advance(world, Budget::Step);
        }
        let saved = self::sequence(world, sequence)?;
        let (model, fingerprint) = model_of(world, sequence)?;
        let computer = Computer::of(world, model);
        let mut numbers = Writer::new(contents);
        let layers = match contents {
            Contents::Tokens => None,
            _ => caches(world, sequence, model, computer.backend, &mut numbers)?,
        };
        let (contents, layers, caches) = match layers {
            Some(layers) => (contents, layers, numbers.bytes),
            None => (Contents::Tokens, Vec::new(), Vec::new()),
        };
        let header = Header { fingerprint: Hex(fingerprint.0), computer, contents, layers, sequence: saved };
        check::alone(&header, caches.len())?;
        let json = header.to_json()?;
        let bytes = envelope::seal(&json, &caches)?;
        let start = PREFIX + json.len();
        Ok(Self { header, bytes: bytes.into(), caches: start..start + caches.len() })
    }
}

/// The model that a sequence runs on, or will.
fn model_of(world: &mut World, sequence: Entity) -> Result<(Entity, Fingerprint), SnapshotError> {
    let entity = world.entity(sequence);
    let running = entity.get::<Running>().map(|running| running.model);
    let admitted = || entity.get::<Admitted>().map(|admitted| admitted.model);
    let named = || entity.get::<SpeaksWith>().map(|named| named.0);
    let model = match running.or_else(admitted).or_else(named) {
        Some(model) => model,
        None => {
            let mut models = world.query_filtered::<Entity, (With<ModelConfig>, Without<HeadOf>)>();
            models.single(world).map_err(|_| SnapshotError::NoModel(sequence))?
        }
    };
    let fingerprint = world.get::<Fingerprint>(model).copied().ok_or(SnapshotError::NoSuchModel(model))?;
    Ok((model, fingerprint))
}

/// Writes what the caches of a sequence hold; `None` if that is nothing, or cannot be had.
fn caches(
    world: &mut World,
    sequence: Entity,
    model: Entity,
    backend: Backend,
    numbers: &mut Writer,
) -> Result<Option<Vec<Layer>>, SnapshotError> {
    let Some(caches) = caches_of(world, sequence, model) else { return Ok(None) };
    let Some(config) = world.get::<ModelConfig>(model).cloned() else { return Ok(None) };
    let Some(layout) = Layout::of(backend, &config) else { return Ok(None) };
    let positions = world.get::<Tokens>(sequence).map_or(0, |tokens| tokens.processed);
    match backend {
        _ if positions == 0 || world.get::<Unavailable>(model).is_some() => Ok(None),
        Backend::Cpu => Ok(cpu::write(world, &caches, &layout, &config, positions, numbers)),
        #[cfg(feature = "gpu")]
        Backend::Gpu => Ok(super::gpu::write(world, model, &caches, &layout, positions, numbers)?),
        #[cfg(not(feature = "gpu"))]
        Backend::Gpu => Ok(None),
    }
}

/// The cache entities of a sequence, one for each layer of `model`; `None` if they are not.
fn caches_of(world: &World, sequence: Entity, model: Entity) -> Option<Vec<Entity>> {
    // They are to be taken back by more than anyone has said yet.
    if world.get::<TakenBack>(sequence).is_some() {
        return None;
    }
    let caches: Vec<Entity> = world.get::<Caches>(sequence)?.iter().collect();
    let layers: Vec<Entity> = layers_of(world, model);
    let is_of = |(&cache, &layer): (&Entity, &Entity)| world.get::<OfLayer>(cache) == Some(&OfLayer(layer));
    (caches.len() == layers.len() && caches.iter().zip(&layers).all(is_of)).then_some(caches)
}

fn sequence(world: &World, sequence: Entity) -> Result<Sequence, SnapshotError> {
    let none = SnapshotError::NoSuchSequence(sequence);
    let Ok(entity) = world.get_entity(sequence) else { return Err(none) };
    let tokens = entity.get::<Tokens>().ok_or(none)?;
    if let Some(&ForkOf(original)) = entity.get() {
        return Err(SnapshotError::Forks { sequence, original });
    }
    let rules = entity.get::<StopRules>().cloned().unwrap_or_default();
    Ok(Sequence {
        name: entity.get::<Name>().map(ToString::to_string),
        status: match entity.get::<Finished>() {
            Some(Finished(reason)) => Status::Finished(reason.into()),
            None if entity.contains::<Full>() && entity.contains::<Running>() => Status::Full,
            None if entity.contains::<Running>() => Status::Running,
            // One whose marker was taken away is let in anew.
            None if entity.contains::<Queued>() || entity.contains::<Admitted>() => Status::Queued,
            None => Status::Resting,
        },
        tokens: Ids {
            prompt: tokens.prompt.clone(),
            generated: tokens.generated.clone(),
            processed: tokens.processed,
            spoken: tokens.spoken.iter().map(|spoken| [spoken.start, spoken.end]).collect(),
            keep_at: tokens.keep_at,
        },
        prompt: entity.get::<Prompt>().map(|prompt| match prompt {
            Prompt::Text(text) => Asked::Text(text.clone()),
            Prompt::Chat(messages) => Asked::Chat(messages.clone()),
            Prompt::Ids(ids) => Asked::Ids(ids.clone()),
        }),
        system: entity.get::<SystemPrompt>().map(|system| system.0.clone()),
        conversation: entity.get::<Conversation>().map(|conversation| Talk {
            messages: conversation.messages().to_vec(),
            turns: conversation.turn_starts().to_vec(),
        }),
        options: entity.get::<ChatOptions>().map(|options| Options {
            add_generation_prompt: options.add_generation_prompt,
            enable_thinking: options.enable_thinking,
            tools: options.tools.clone(),
            template_args: options.template_args.iter().collect(),
        }),
        rules: Rules {
            max_new_tokens: rules.max_new_tokens,
            end_tokens: rules.end_tokens,
            stop_texts: rules.stop_texts,
        },
        sampling: entity.get::<Sampling>().map(Settings::from),
        seed: entity.get::<Seed>().map(|seed| seed.0),
        sampler: entity.get::<Sampler>().map(|sampler| {
            let (seed, word) = sampler.random().place();
            Picker { settings: sampler.settings().into(), seed: Hex(seed), word }
        }),
        has_transcript: entity.contains::<Transcript>(),
        priority: entity.get::<Priority>().map(|priority| priority.0),
        forgetful: entity.get::<Forgetful>().map(|forgetful| Single(forgetful.0)),
        paused: entity.contains::<Paused>(),
        host_logits: entity.contains::<HostLogits>(),
        logits_from: entity.get::<LogitsFrom>().map(|from| from.0),
        draft: entity.get().and_then(Guesses::of),
        say: entity.get::<Say>().map(|say| say.0.clone()),
        stop: entity.get::<Stop>().map(|stop| (&stop.0).into()),
        rewind: entity.get::<Rewind>().map(|rewind| rewind.0),
    })
}

impl From<&Sampling> for Settings {
    fn from(sampling: &Sampling) -> Self {
        let &Sampling { temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty } =
            sampling;
        Self {
            temperature: Single(temperature),
            top_k,
            top_p: Single(top_p),
            min_p: Single(min_p),
            repetition_penalty: Single(repetition_penalty),
            presence_penalty: Single(presence_penalty),
            frequency_penalty: Single(frequency_penalty),
        }
    }
}

impl From<&FinishReason> for Ending {
    fn from(reason: &FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
            FinishReason::Read => Self::Read,
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::Stopped(why) => Self::Stopped(why.clone()),
            // It may name entities, which are none elsewhere.
            FinishReason::Refused(refusal) => Self::Refused(refusal.to_string()),
            FinishReason::NonFinite => Self::NonFinite,
            &FinishReason::CacheFull { needed, limit } => Self::CacheFull { needed, limit },
            FinishReason::ModelDespawned => Self::ModelDespawned,
        }
    }
}
