//! A snapshot → a sequence in a world.

use bevy_ecs::name::Name;
use bevy_ecs::prelude::*;

use super::caches::{LayerCache, spawn_caches};
use super::computer::{Backend, Computer};
use super::continues::{Continues, Restored, Why};
use super::error::SnapshotError;
use super::header::{Asked, Contents, Ending, Header, Ids, Sequence, Settings, Status};
use super::layers::Layout;
use super::numbers::Reader;
use super::room::has_room;
use super::{Snapshot, check, cpu};
use crate::checkpoint::{ChatOptions, ModelConfig, TemplateArgs, Tokenizer};
use crate::cpu::Cpu;
use crate::sampling::{Random, Sampling};
use crate::schedule::Full;
use crate::world::control::{Forgetful, Paused, Priority, Rewind, Say, Stop};
use crate::world::conversation::{Conversation, SystemPrompt};
use crate::world::draft::Draft;
use crate::world::fingerprint::Fingerprint;
use crate::world::model::Unavailable;
use crate::world::refusal::Refusal;
use crate::world::sampler::{Sampler, Seed};
use crate::world::sequence::{
    Admitted, Arrival, FinishReason, Finished, HostLogits, LogitsFrom, Prompt, Queued, Running, SpeaksWith, StopRules,
};
use crate::world::tokens::Tokens;
use crate::world::transcript::Transcript;

/// The caches of a sequence on whatever computes its model.
enum AllCaches {
    Cpu(Vec<LayerCache<Cpu>>),
    #[cfg(feature = "gpu")]
    Gpu(Vec<LayerCache<crate::gpu::Gpu>>),
}

impl Snapshot {
    /// Spawns the sequence, to go on with `model`. It is heard of when the next step begins, as any other.
    ///
    /// # Errors
    /// If `model` is none, or not that of the snapshot, or keeps keys and values as another type than the snapshot's caches, which
    /// one of tokens only has not; if the snapshot says what cannot be of it; or if a device fails. The world
    /// is then as it was.
    pub fn restore(&self, world: &mut World, model: Entity) -> Result<Restored, SnapshotError> {
        let found = world.get_entity(model).ok();
        let known = found.and_then(|found| Some((found.get::<ModelConfig>()?.clone(), *found.get::<Fingerprint>()?)));
        let (config, fingerprint) = known.ok_or(SnapshotError::NoSuchModel(model))?;
        if self.fingerprint() != fingerprint {
            return Err(SnapshotError::OtherModel { snapshot: self.fingerprint(), model: fingerprint });
        }
        let Header { computer, sequence, contents, .. } = &self.header;
        check::on_model(sequence, &config)?;
        let here = Computer::of(world, model);
        self.check_cache_type(&here)?;
        let parts = Parts::of(sequence, world.get::<Tokenizer>(model))?;
        let caches = match self.why_not(world, model, &here) {
            Some(why) => Err(why),
            None => Ok(self.caches(world, model, &config, here.backend)?),
        };
        let continues = match (&caches, sequence.tokens.processed) {
            (Err(why), 1..) => Continues::ReadAgain { why: why.clone() },
            _ if *contents == Contents::Half => Continues::Nearly { why: Why::Rounded },
            _ => computer.differs(&here).map_or(Continues::Equally, |why| Continues::Nearly { why }),
        };
        let sequence = parts.spawn(world, model, sequence, caches.is_ok());
        match caches {
            Ok(AllCaches::Cpu(caches)) => spawn_caches(world, sequence, model, caches),
            #[cfg(feature = "gpu")]
            Ok(AllCaches::Gpu(caches)) => spawn_caches(world, sequence, model, caches),
            Err(_) => {}
        }
        Ok(Restored { sequence, continues })
    }

    /// Refuses caches of the same order whose keys and values are not kept as they are here. Read again, or converted, the
    /// sequence would silently go on otherwise than if it had never been saved.
    fn check_cache_type(&self, here: &Computer) -> Result<(), SnapshotError> {
        let Header { computer, contents, .. } = &self.header;
        let (saved, kept) = (computer.cache_type, here.cache_type);
        if *contents == Contents::Tokens || computer.cannot_read(here).is_some() || saved == kept {
            return Ok(());
        }
        Err(SnapshotError::OtherCacheType { snapshot: saved.name(), model: kept.name() })
    }

    /// Why its caches cannot be taken over.
    fn why_not(&self, world: &mut World, model: Entity, here: &Computer) -> Option<Why> {
        let Header { computer, sequence, contents, .. } = &self.header;
        if *contents == Contents::Tokens {
            return Some(Why::TokensOnly);
        }
        let other = computer.cannot_read(here);
        other.or_else(|| world.get::<Unavailable>(model).map(|_| Why::Unavailable)).or_else(|| {
            let talks = sequence.conversation.is_some();
            (!has_room(world, model, talks, sequence.tokens.len())).then_some(Why::NoRoom)
        })
    }

    fn caches(
        &self,
        world: &mut World,
        model: Entity,
        config: &ModelConfig,
        backend: Backend,
    ) -> Result<AllCaches, SnapshotError> {
        let Header { layers, sequence, contents, .. } = &self.header;
        let positions = sequence.tokens.processed;
        let wrong = || SnapshotError::field("layers", "caches of this model", "others");
        Layout::of(backend, config).ok_or_else(wrong)?.check(config, layers, positions)?;
        let mut numbers = Reader::new(*contents, &self.bytes[self.caches.clone()]);
        match backend {
            Backend::Cpu => {
                let cache_type = self.header.computer.cache_type;
                let caches = cpu::read(layers, config, cache_type, positions, &mut numbers);
                let _ = (world, model);
                caches.map(AllCaches::Cpu).ok_or_else(wrong)
            }
            #[cfg(feature = "gpu")]
            Backend::Gpu => {
                let caches = super::gpu::read(world, model, layers, positions, &mut numbers)?;
                caches.map(AllCaches::Gpu).ok_or_else(wrong)
            }
            #[cfg(not(feature = "gpu"))]
            Backend::Gpu => Err(wrong()),
        }
    }
}

/// What can be wrong with a sequence, once it is made.
struct Parts {
    options: Option<ChatOptions>,
    conversation: Option<Conversation>,
    sampler: Option<Sampler>,
    transcript: Option<Transcript>,
}

impl Parts {
    fn of(sequence: &Sequence, tokenizer: Option<&Tokenizer>) -> Result<Self, SnapshotError> {
        let options = sequence.options.as_ref().map(|saved| {
            let mut template_args = TemplateArgs::default();
            for (name, value) in &saved.template_args {
                template_args.insert(name, value.clone()).map_err(|error| {
                    SnapshotError::field("sequence.options.template_args", "other names", error.to_string())
                })?;
            }
            Ok::<_, SnapshotError>(ChatOptions {
                add_generation_prompt: saved.add_generation_prompt,
                enable_thinking: saved.enable_thinking,
                tools: saved.tools.clone(),
                template_args,
            })
        });
        let conversation = sequence.conversation.as_ref().map(|talk| {
            Conversation::of_turns(talk.messages.clone(), talk.turns.clone())
                .ok_or_else(|| SnapshotError::field("sequence.conversation.turns", "places in its messages", "others"))
        });
        let sampler = sequence.sampler.as_ref().map(|saved| {
            let random = Random::at(saved.seed.0, saved.word);
            Sampler::at(Sampling::from(&saved.settings), random)
        });
        let transcript = tokenizer.filter(|_| sequence.has_transcript).map(|tokenizer| {
            let mut transcript = Transcript::new(tokenizer.stream(), sequence.rules.stop_texts.clone());
            sequence.tokens.generated.iter().for_each(|&id| _ = transcript.push(id));
            if matches!(sequence.status, Status::Finished(_)) {
                transcript.finish();
            }
            transcript
        });
        Ok(Self {
            options: options.transpose()?,
            conversation: conversation.transpose()?,
            sampler: sampler.transpose()?,
            transcript,
        })
    }

    fn spawn(self, world: &mut World, model: Entity, sequence: &Sequence, has_caches: bool) -> Entity {
        let rules = StopRules {
            max_new_tokens: sequence.rules.max_new_tokens,
            end_tokens: sequence.rules.end_tokens.clone(),
            stop_texts: sequence.rules.stop_texts.clone(),
        };
        let tokens = Tokens::from(&sequence.tokens);
        let tokens = Tokens { processed: if has_caches { tokens.processed } else { 0 }, ..tokens };
        let is_begun = !tokens.is_empty();
        let mut entity = world.spawn((tokens, rules, SpeaksWith(model), Arrival::default()));
        let id = entity.id();
        insert(&mut entity, self.options);
        insert(&mut entity, self.conversation);
        insert(&mut entity, self.sampler);
        insert(&mut entity, self.transcript);
        insert(&mut entity, sequence.name.clone().map(Name::new));
        insert(&mut entity, sequence.prompt.as_ref().map(Prompt::from));
        insert(&mut entity, sequence.system.clone().map(SystemPrompt));
        insert(&mut entity, sequence.sampling.as_ref().map(Sampling::from));
        insert(&mut entity, sequence.seed.map(Seed));
        insert(&mut entity, sequence.priority.map(Priority));
        insert(&mut entity, sequence.forgetful.map(|share| Forgetful(share.0)));
        insert(&mut entity, sequence.paused.then_some(Paused));
        insert(&mut entity, sequence.host_logits.then_some(HostLogits));
        insert(&mut entity, sequence.logits_from.map(LogitsFrom));
        insert(&mut entity, sequence.draft.map(Draft::from));
        insert(&mut entity, sequence.say.clone().map(Say));
        insert(&mut entity, sequence.stop.as_ref().map(|stop| Stop(stop.into())));
        insert(&mut entity, sequence.rewind.map(Rewind));
        match &sequence.status {
            Status::Queued | Status::Running => _ = entity.insert(Queued),
            Status::Resting => _ = entity.remove::<Queued>(),
            Status::Full => {
                // As far as who makes room for it asks: it is let in anew then.
                let running = Running { model, room: 0, is_full_then: true, only_reads: false, end_tokens: Vec::new() };
                entity.remove::<Queued>().insert((Full, running));
            }
            Status::Finished(ending) => {
                entity.remove::<Queued>().insert(Finished(ending.into()));
                if is_begun {
                    entity.insert(Admitted { sequence: id, model });
                }
            }
        }
        id
    }
}

fn insert(entity: &mut EntityWorldMut<'_>, component: Option<impl Bundle>) {
    if let Some(component) = component {
        entity.insert(component);
    }
}

impl From<&Ids> for Tokens {
    fn from(ids: &Ids) -> Self {
        Self {
            prompt: ids.prompt.clone(),
            generated: ids.generated.clone(),
            processed: ids.processed,
            spoken: ids.spoken.iter().map(|&[start, end]| start..end).collect(),
            keep_at: ids.keep_at,
        }
    }
}

impl From<&Asked> for Prompt {
    fn from(asked: &Asked) -> Self {
        match asked {
            Asked::Text(text) => Self::Text(text.clone()),
            Asked::Chat(messages) => Self::Chat(messages.clone()),
            Asked::Ids(ids) => Self::Ids(ids.clone()),
        }
    }
}

impl From<&Settings> for Sampling {
    fn from(settings: &Settings) -> Self {
        Self {
            temperature: settings.temperature.0,
            top_k: settings.top_k,
            top_p: settings.top_p.0,
            min_p: settings.min_p.0,
            repetition_penalty: settings.repetition_penalty.0,
            presence_penalty: settings.presence_penalty.0,
            frequency_penalty: settings.frequency_penalty.0,
        }
    }
}

impl From<&Ending> for FinishReason {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Stop => Self::Stop,
            Ending::Length => Self::Length,
            Ending::Read => Self::Read,
            Ending::Cancelled => Self::Cancelled,
            Ending::Stopped(why) => Self::Stopped(why.clone()),
            Ending::Refused(why) => Self::Refused(Refusal::Text(why.clone())),
            Ending::NonFinite => Self::NonFinite,
            &Ending::CacheFull { needed, limit } => Self::CacheFull { needed, limit },
            Ending::ModelDespawned => Self::ModelDespawned,
        }
    }
}
