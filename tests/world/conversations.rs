//! Turn after turn: what is said, kept, taken back and shared.

use std::path::Path;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::prelude::*;
use loquent::schedule::BeginStep;
use loquent::world::batch::Batch;
use loquent::world::cache::{Caches, KvCache};
use loquent::world::refusal::Refusal;
use tempfile::TempDir;

use crate::support::{default_world, demo, run};

/// How many rows steps had, all together.
#[derive(Resource, Default)]
struct Rows(usize);

fn count_rows(batch: Res<Batch>, mut rows: ResMut<Rows>) {
    rows.0 += batch.len();
}

/// The demo, or one like it, and how many rows its steps have.
fn world_of(checkpoint: &Path) -> World {
    let mut world = default_world(checkpoint);
    world.init_resource::<Rows>();
    world.schedule_scope(BeginStep, |_, schedule| {
        schedule.add_systems(count_rows.after(StepSystems::Admit));
    });
    world
}

/// A template as reasoning models have: the answer begins with its thoughts, which later turns are not shown.
const THINKS: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}";

/// The demo with another template.
fn with_template(template: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(demo()).expect("the demo") {
        let file = entry.expect("a file").path();
        std::fs::copy(&file, folder.path().join(file.file_name().expect("a name"))).expect("a copy");
    }
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("a template");
    folder
}

fn take_rows(world: &mut World) -> usize {
    std::mem::take(&mut world.resource_mut::<Rows>().0)
}

/// One that speaks at a temperature, up to so many tokens.
fn speaker(world: &mut World, length: usize) -> Entity {
    let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
    world.spawn((Conversation::default(), sampling, Seed(7), StopRules::after(length))).id()
}

fn say(world: &mut World, speaker: Entity, text: &str) {
    world.entity_mut(speaker).say(text);
    run(world, Budget::Step);
}

fn tokens(world: &World, speaker: Entity) -> Tokens {
    world.get::<Tokens>(speaker).expect("tokens").clone()
}

/// What one gets that reads the same ids anew and picks as `speaker` did before its answer.
fn anew(world: &mut World, prompt: &[u32], sampler: Sampler, length: usize) -> Vec<u32> {
    let template_ends = world.query::<&loquent::world::model::GenerationDefaults>().single(world).expect("a model");
    let end_tokens = Some(template_ends.chat_end_tokens.clone());
    let rules = StopRules { end_tokens, ..StopRules::after(length) };
    let other = world.spawn((Prompt::ids(prompt), sampler, rules)).id();
    run(world, Budget::Step);
    let generated = tokens(world, other).generated;
    world.despawn(other);
    generated
}

const QUESTIONS: [&str; 4] =
    ["Tell me of a cat.", "And then?", "Who was there with it, and what did they say?", "Why?"];

#[test]
fn a_turn_reads_what_is_new_and_says_what_reading_all_anew_would() {
    for template in [None, Some(THINKS)] {
        let changed = template.map(with_template);
        let folder = changed.as_ref().map_or(demo(), |folder| folder.path().to_owned());
        let mut world = world_of(&folder);
        let speaker = speaker(&mut world, 30);
        for (turn, question) in QUESTIONS.into_iter().enumerate() {
            take_rows(&mut world);
            let before = tokens(&world, speaker);
            let sampler = world.get::<Sampler>(speaker).cloned();
            say(&mut world, speaker, question);
            let rows = take_rows(&mut world);
            let after = tokens(&world, speaker);
            // The last token of an answer is read with the next turn.
            let new = after.len() - before.len();
            if template.is_none() {
                assert_eq!(rows, new - usize::from(turn == 0), "{question}");
                assert!(after.prompt.starts_with(&before.iter().collect::<Vec<_>>()));
            } else {
                // Thoughts are gone, and the answer after them is read again.
                assert!(rows <= new + before.generated.len() + 20, "{question}: {rows} rows for {new}");
            }
            let Some(sampler) = sampler else { continue };
            assert_eq!(anew(&mut world, &after.prompt, sampler, 30), after.generated, "{question}");
        }
        let conversation = world.get::<Conversation>(speaker).expect("a conversation");
        assert_eq!((conversation.turns(), conversation.messages().len()), (4, 8));
        assert_eq!(conversation.turn(1)[0].content(), Some("And then?"));
    }
}

#[test]
fn what_is_written_otherwise_later_is_taken_back_to_where_texts_part() {
    let folder = with_template(THINKS);
    let mut world = world_of(folder.path());
    let speaker = speaker(&mut world, 200);
    let long = "Tell me of a cat. ".repeat(20);
    say(&mut world, speaker, &long);
    let first = tokens(&world, speaker);
    let text = |world: &mut World, ids: &[u32]| {
        let mut tokenizers = world.query::<&loquent::checkpoint::Tokenizer>();
        tokenizers.single(world).expect("a tokenizer").decode(ids, false).expect("text")
    };
    assert!(text(&mut world, &first.prompt).ends_with("<think>\n\n</think>\n\n"));
    take_rows(&mut world);
    say(&mut world, speaker, "And then?");
    let second = tokens(&world, speaker);
    assert!(!text(&mut world, &second.prompt[..first.len()]).contains("<think>"));
    // The first question is not read again, but for what shares a multiple of 16 positions with its end.
    let read = take_rows(&mut world) - (second.generated.len() - 1);
    let question = first.prompt.len() - 30;
    assert!(read < second.prompt.len() - question, "{read} of {}", second.prompt.len());
}

#[test]
fn a_turn_that_is_taken_back_and_asked_again_is_answered_alike() {
    let mut world = world_of(&demo());
    let speaker = speaker(&mut world, 40);
    say(&mut world, speaker, QUESTIONS[0]);
    let sampler = world.get::<Sampler>(speaker).expect("a sampler").clone();
    say(&mut world, speaker, QUESTIONS[1]);
    let expected = tokens(&world, speaker);
    say(&mut world, speaker, QUESTIONS[2]);
    world.entity_mut(speaker).insert(sampler).rewind(1).say(QUESTIONS[1]);
    take_rows(&mut world);
    run(&mut world, Budget::Step);
    assert_eq!(tokens(&world, speaker).prompt, expected.prompt);
    assert_eq!(tokens(&world, speaker).generated, expected.generated);
    let rows = take_rows(&mut world);
    assert!(rows < expected.generated.len() + 48, "the first turn is kept: {rows} rows");
    let conversation = world.get::<Conversation>(speaker).expect("a conversation");
    assert_eq!((conversation.turns(), conversation.messages().len()), (2, 4));
}

/// The first block of the first attention layer's cache.
fn first_block(world: &World, sequence: Entity) -> *const loquent::cpu::KvBlock {
    let mut caches = world.get::<Caches>(sequence).expect("caches").iter();
    let cache = caches.find_map(|cache| world.get::<KvCache<Cpu>>(cache)).expect("an attention layer");
    Arc::as_ptr(&cache.blocks()[0])
}

#[test]
fn those_who_begin_alike_read_it_once_and_hold_it_once() {
    let mut world = world_of(&demo());
    let system = "You live by the sea. ".repeat(40);
    let village = world.spawn(SystemPrompt(system.clone())).id();
    let villagers: Vec<Entity> = (0..5)
        .map(|index| {
            let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
            let villager = world.spawn((ForkOf(village), sampling, Seed(index), StopRules::after(10))).id();
            world.entity_mut(villager).say(format!("Who is number {index}?"));
            villager
        })
        .collect();
    run(&mut world, Budget::Step);
    assert_eq!(world.get::<Finished>(village), Some(&Finished(FinishReason::Read)));
    let shared = tokens(&world, village).len();
    let read: usize = villagers.iter().map(|&villager| tokens(&world, villager).processed - shared).sum();
    assert_eq!(take_rows(&mut world), shared + read);
    for &villager in &villagers {
        assert_eq!(first_block(&world, villager), first_block(&world, village));
        let conversation = world.get::<Conversation>(villager).expect("a conversation");
        assert_eq!(conversation.messages()[0].content(), Some(&*system));
        assert_eq!(conversation.messages().len(), 3);
        let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
        let index = villagers.iter().position(|&other| other == villager).expect("one of them") as u64;
        let sampler = Sampler::new(sampling, index).expect("settings");
        let Tokens { prompt, generated, .. } = tokens(&world, villager);
        assert_eq!(anew(&mut world, &prompt, sampler, 10), generated);
    }
}

#[test]
fn a_fork_in_the_middle_of_an_answer_goes_on_as_the_original_does() {
    let mut world = world_of(&demo());
    let original = speaker(&mut world, 60);
    world.entity_mut(original).say(QUESTIONS[0]);
    while tokens(&world, original).generated.len() < 9 {
        advance(&mut world, Budget::Pieces(1));
    }
    let fork = world.entity_mut(original).fork();
    let told = world.entity_mut(original).fork();
    world.entity_mut(told).say(QUESTIONS[1]);
    run(&mut world, Budget::Pieces(1));
    assert_eq!(tokens(&world, fork).generated, tokens(&world, original).generated);
    assert_eq!(tokens(&world, told).spoken.len(), 1, "its first answer was cut off by what it was told");
    assert_eq!(world.get::<Conversation>(told).expect("a conversation").messages().len(), 4);
}

#[test]
fn a_fork_of_nobody_is_refused_and_one_of_somebody_refused_as_well() {
    let mut world = world_of(&demo());
    let nobody = world.spawn_empty().id();
    let refused = world.spawn(Prompt::ids([])).id();
    let forks = [nobody, refused].map(|original| world.spawn(ForkOf(original)).id());
    run(&mut world, Budget::Step);
    let expected = [Refusal::NoSuchSequence(nobody), Refusal::EmptyPrompt];
    for (fork, refusal) in forks.into_iter().zip(expected) {
        assert_eq!(world.get::<Finished>(fork), Some(&Finished(FinishReason::Refused(refusal))));
    }
}

#[test]
fn a_text_that_is_told_more_goes_on_after_it() {
    let mut world = world_of(&demo());
    let story = world.spawn((Prompt::text("Once upon a time"), Sampler::default(), StopRules::after(5))).id();
    run(&mut world, Budget::Step);
    let before: Vec<u32> = tokens(&world, story).iter().collect();
    say(&mut world, story, " The cat was red.");
    let after = tokens(&world, story);
    assert!(after.prompt.starts_with(&before) && after.prompt.len() > before.len());
    let expected = world.spawn((Prompt::ids(&*after.prompt), Sampler::default(), StopRules::after(5))).id();
    run(&mut world, Budget::Step);
    assert_eq!(after.generated, tokens(&world, expected).generated);
}

#[test]
fn what_is_refused_leaves_what_was_said_as_it_was() {
    const STRICT: &str = "{% for m in messages %}{% if m['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}\
        <|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
    let folder = with_template(STRICT);
    let mut world = world_of(folder.path());
    let speaker = speaker(&mut world, 20);
    say(&mut world, speaker, QUESTIONS[0]);
    let before = world.get::<Conversation>(speaker).expect("a conversation").clone();
    world.entity_mut(speaker).tell(ChatMessage::new("tool", "9:00"));
    run(&mut world, Budget::Step);
    let Some(Finished(FinishReason::Refused(Refusal::Text(why)))) = world.get(speaker) else { panic!("a refusal") };
    assert!(why.contains("no tools"), "{why}");
    assert_eq!(world.get::<Conversation>(speaker), Some(&before));
    say(&mut world, speaker, QUESTIONS[1]);
    let conversation = world.get::<Conversation>(speaker).expect("a conversation");
    assert_eq!((conversation.turns(), conversation.messages().len()), (2, 4));
}

#[derive(Resource, Default)]
struct Forgotten(Vec<(Entity, usize)>);

#[test]
fn a_full_context_ends_an_answer_or_makes_a_forgetful_speaker_forget_its_first_turns() {
    let mut world = World::new();
    let mut checkpoint = Checkpoint::open(&demo()).expect("the demo");
    checkpoint.config.max_position_embeddings = 160;
    let options = LoadOptions::default().backend(Backend::Cpu);
    LoadedModel::from_checkpoint(checkpoint, options, |_| {}).expect("the demo").spawn(&mut world);
    world.init_resource::<Forgotten>();
    let long = |world: &mut World| {
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(45) };
        world.spawn((Conversation::new(vec![ChatMessage::new("system", "Be brief.")]), rules)).id()
    };
    let [plain, forgetful] = [(); 2].map(|()| long(&mut world));
    world.entity_mut(forgetful).insert(Forgetful::default());
    for question in QUESTIONS {
        for speaker in [plain, forgetful] {
            world.entity_mut(speaker).say(question);
        }
        run(&mut world, Budget::Step);
        let told: Vec<_> = world.resource_mut::<Messages<TurnsForgotten>>().drain().collect();
        let turns = told.into_iter().map(|told| (told.sequence, told.turns));
        world.resource_mut::<Forgotten>().0.extend(turns);
    }
    let reason = |sequence| world.get::<Finished>(sequence).expect("an end").0.clone();
    assert!(matches!(reason(plain), FinishReason::Refused(Refusal::ContextOverflow { .. })), "{:?}", reason(plain));
    assert_eq!(reason(forgetful), FinishReason::Length);
    assert_eq!(tokens(&world, forgetful).generated.len(), 45);
    let forgotten = &world.resource::<Forgotten>().0;
    assert!(!forgotten.is_empty() && forgotten.iter().all(|&(sequence, turns)| sequence == forgetful && turns > 0));
    let conversation = world.get::<Conversation>(forgetful).expect("a conversation");
    assert_eq!(conversation.messages()[0].content(), Some("Be brief."));
    assert_eq!(conversation.turn(conversation.turns() - 1)[0].content(), Some("Why?"));
    assert!(conversation.turns() < 4);

    let before = conversation.clone();
    world.resource_mut::<Messages<TurnsForgotten>>().clear();
    world.entity_mut(forgetful).say("Why? ".repeat(200));
    run(&mut world, Budget::Step);
    let reason = &world.get::<Finished>(forgetful).expect("an end").0;
    assert!(matches!(reason, FinishReason::Refused(Refusal::ContextOverflow { .. })), "{reason:?}");
    assert_eq!(world.get::<Conversation>(forgetful), Some(&before), "nothing is forgotten for what has no room");
    assert!(world.resource::<Messages<TurnsForgotten>>().is_empty());
}
