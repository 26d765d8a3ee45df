//! Conversations that are saved between turns, in the middle of one, and with something on its way to them.

use bevy_ecs::name::Name;
use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::prelude::*;
use loquent::schedule::Full;
use loquent::snapshot::{Contents, Continues, Snapshot};
use loquent::world::cache::{Caches, KvCache};
use loquent::world::sequence::Admitted;

use crate::listening::{End, logits, model, restore_elsewhere, tokens, world_of};
use crate::support::{demo, run};

fn speaker(world: &mut World) -> Entity {
    let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
    world.spawn((Conversation::default(), sampling, Seed(7), StopRules::after(30))).id()
}

/// Takes two turns with it.
fn ask_two(world: &mut World, speaker: Entity) {
    for question in ["Tell me of a cat.", "And then?"] {
        world.entity_mut(speaker).say(question);
        run(world, Budget::Step);
    }
}

const CONTENTS: [Contents; 2] = [Contents::AsStored, Contents::Tokens];

/// Saves it, tells both what `tell` does, and compares what they come to.
fn assert_both(world: &mut World, sequence: Entity, contents: Contents, tell: impl Fn(&mut EntityWorldMut<'_>)) {
    let snapshot = Snapshot::take(world, sequence, contents).expect("a snapshot");
    let (mut other, restored, _) = restore_elsewhere(&demo(), &snapshot);
    let picked = logits(world, sequence).len();
    for (world, sequence) in [(&mut *world, sequence), (&mut other, restored)] {
        tell(&mut world.entity_mut(sequence));
        run(world, Budget::Step);
    }
    let expected = End::of(world, sequence);
    let since = expected.logits.len() - picked;
    assert!(expected.finished.is_some());
    assert_eq!(End::of(&other, restored), expected.since(since), "{contents:?}");
}

#[test]
fn one_at_rest_is_told_more() {
    for contents in CONTENTS {
        let mut world = world_of(&demo());
        let speaker = speaker(&mut world);
        ask_two(&mut world, speaker);
        assert_both(&mut world, speaker, contents, |speaker| _ = speaker.say("Why?"));
    }
}

#[test]
fn one_that_has_heard_nothing_yet_and_one_that_is_about_to() {
    for contents in CONTENTS {
        let mut world = world_of(&demo());
        let silent = speaker(&mut world);
        assert_both(&mut world, silent, contents, |speaker| _ = speaker.say("Who are you?"));
        // Told before it was saved.
        world.entity_mut(silent).say("And who am I?");
        assert_both(&mut world, silent, contents, |_| {});
        world.entity_mut(silent).rewind(1).say("And who is that?");
        assert_both(&mut world, silent, contents, |_| {});
    }
}

#[test]
fn one_in_the_middle_of_its_answer_is_told_more_stopped_or_rewound() {
    for contents in CONTENTS {
        for act in 0..3 {
            let mut world = world_of(&demo());
            let speaker = speaker(&mut world);
            world.entity_mut(speaker).say("Tell me of a cat.");
            run(&mut world, Budget::Step);
            world.entity_mut(speaker).say("And then?");
            let before = tokens(&world, speaker).len();
            while tokens(&world, speaker).len() < before + 15 {
                advance(&mut world, Budget::Pieces(1));
            }
            assert_both(&mut world, speaker, contents, |speaker| match act {
                0 => _ = speaker.say("Why?"),
                1 => _ = speaker.stop_for(FinishReason::Stopped("enough".into())),
                _ => _ = speaker.rewind(1).say("Who?"),
            });
        }
    }
}

#[test]
fn after_a_turn_was_taken_back() {
    for contents in CONTENTS {
        let mut world = world_of(&demo());
        let speaker = speaker(&mut world);
        ask_two(&mut world, speaker);
        world.entity_mut(speaker).rewind(1).say("Where was it?");
        for _ in 0..4 {
            advance(&mut world, Budget::Step);
        }
        assert_both(&mut world, speaker, contents, |_| {});
        assert_both(&mut world, speaker, contents, |speaker| _ = speaker.say("Why?"));
    }
}

#[test]
fn a_fork_that_shares_blocks_is_saved_as_if_they_were_its_own() {
    for contents in CONTENTS {
        let mut world = world_of(&demo());
        let village = world.spawn(SystemPrompt("You live by the sea. ".repeat(20))).id();
        let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
        let villager = world.spawn((ForkOf(village), sampling, Seed(3), StopRules::after(20))).id();
        let refused = Snapshot::take(&mut world, villager, contents).unwrap_err().to_string();
        assert_eq!(refused, format!("{villager} waits to become a fork of {village}: expected one that has begun"));
        world.entity_mut(villager).say("Who are you?");
        while tokens(&world, villager).generated.len() < 5 {
            advance(&mut world, Budget::Step);
        }
        let first = |world: &World, sequence: Entity| {
            let cache = world.get::<Caches>(sequence)?.iter().find_map(|cache| world.get::<KvCache<Cpu>>(cache))?;
            Some(std::sync::Arc::as_ptr(cache.blocks().first()?))
        };
        assert_eq!(first(&world, village), first(&world, villager));
        assert_both(&mut world, villager, contents, |_| {});
        assert_both(&mut world, village, contents, |village| _ = village.insert(StopRules::after(9)).say("Who?"));
    }
}

#[test]
fn a_clone_and_a_forgetful_one_whose_context_is_full() {
    let load = || {
        let mut checkpoint = Checkpoint::open(&demo()).expect("the demo");
        checkpoint.config.max_position_embeddings = 160;
        let mut world = World::new();
        let options = LoadOptions::default().backend(Backend::Cpu);
        let model = LoadedModel::from_checkpoint(checkpoint, options, |_| {}).expect("the demo").spawn(&mut world);
        (world, model)
    };
    let (mut world, _) = load();
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(45) };
    let forgetful = world.spawn((Conversation::default(), rules, Forgetful::default())).id();
    let mut compared = false;
    for question in ["Tell me of a cat.", "And then?", "Who was there with it, and what did they say?", "Why?"] {
        world.entity_mut(forgetful).say(question);
        while advance(&mut world, Budget::Step) != Progress::Idle {
            if world.get::<Full>(forgetful).is_some() && !compared {
                compared = true;
                let snapshot = Snapshot::take(&mut world, forgetful, Contents::AsStored).expect("a snapshot");
                let (mut other, model) = load();
                let restored = snapshot.restore(&mut other, model).expect("a sequence");
                assert_eq!(restored.continues, Continues::Equally);
                for world in [&mut world, &mut other] {
                    run(world, Budget::Step);
                }
                let said = |world: &World, sequence| {
                    let conversation = world.get::<Conversation>(sequence).cloned();
                    (tokens(world, sequence), conversation, world.get::<Finished>(sequence).cloned())
                };
                assert_eq!(said(&world, forgetful), said(&other, restored.sequence));
            }
        }
    }
    assert!(compared, "its context was full once");
}

#[test]
fn everything_that_a_host_has_put_on_it_is_there_again() {
    let mut world = world_of(&demo());
    let mut options =
        ChatOptions { enable_thinking: true, tools: vec![serde_json::json!({"a": 1})], ..Default::default() };
    options.template_args.insert("mood", serde_json::json!(["glad", 0.1])).expect("a free name");
    let sampling = Sampling { temperature: 0.7, top_k: 5, ..Sampling::default() };
    let bundle = (
        Prompt::text("Once upon a time"),
        options.clone(),
        sampling.clone(),
        Seed(u64::MAX),
        Priority(-3),
        Forgetful(0.3),
        Paused,
        HostLogits,
        Name::new("Ann"),
        StopRules { stop_texts: vec!["the end".into()], end_tokens: Some(vec![3]), ..StopRules::after(12) },
    );
    let sequence = world.spawn(bundle).id();
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    assert_eq!(snapshot.contents(), Contents::Tokens, "nothing was read");
    let (mut other, restored, continues) = restore_elsewhere(&demo(), &snapshot);
    assert_eq!(continues, Continues::Equally);
    let model = model(&mut other);
    let found = other.entity(restored);
    assert_eq!(found.get(), Some(&Prompt::text("Once upon a time")));
    assert_eq!(found.get(), Some(&options));
    assert_eq!(found.get(), Some(&sampling));
    assert_eq!(found.get(), Some(&Seed(u64::MAX)));
    assert_eq!(found.get(), Some(&Priority(-3)));
    assert_eq!(found.get(), Some(&Forgetful(0.3)));
    assert_eq!(found.get(), Some(&SpeaksWith(model)));
    assert_eq!(found.get::<Name>().map(Name::as_str), Some("Ann"));
    assert_eq!(found.get(), world.get::<StopRules>(sequence));
    assert!(found.contains::<Paused>() && found.contains::<HostLogits>() && found.contains::<Queued>());
    for (world, sequence) in [(&mut world, sequence), (&mut other, restored)] {
        world.entity_mut(sequence).resume();
        run(world, Budget::Step);
    }
    assert_eq!(End::of(&other, restored), End::of(&world, sequence));
}

#[test]
fn one_that_has_ended_is_at_rest_and_begins_anew_with_another_prompt() {
    let mut world = world_of(&demo());
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(5) };
    let sequence = world.spawn((Prompt::text("Once upon a time"), Sampler::default(), rules)).id();
    run(&mut world, Budget::Step);
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let (mut other, restored, _) = restore_elsewhere(&demo(), &snapshot);
    assert!(other.get::<Queued>(restored).is_none() && other.get::<Admitted>(restored).is_some());
    assert_eq!(other.get(restored), Some(&Finished(FinishReason::Length)));
    assert_eq!(advance(&mut other, Budget::Step), Progress::Idle);
    assert_both(&mut world, sequence, Contents::AsStored, |story| _ = story.insert(Prompt::text("Once there was")));
}

#[test]
fn why_one_was_refused_is_kept_as_text() {
    let mut world = world_of(&demo());
    let sequence = world.spawn(Prompt::ids([u32::MAX])).id();
    run(&mut world, Budget::Step);
    let Some(Finished(FinishReason::Refused(refusal))) = world.get(sequence).cloned() else { panic!("it is refused") };
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let (other, restored, _) = restore_elsewhere(&demo(), &snapshot);
    let Some(Finished(FinishReason::Refused(again))) = other.get(restored).cloned() else { panic!("it is refused") };
    assert_eq!(again.to_string(), refusal.to_string());
}
