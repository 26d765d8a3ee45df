//! Loading: in one call or in two halves, once or twice, and before or after a host's own steps.

use std::path::Path;
use std::time::Duration;

use bevy_ecs::message::MessageRegistry;
use bevy_ecs::prelude::*;
use loquent::checkpoint::{ChatTemplate, Tokenizer};
use loquent::prelude::*;
use loquent::schedule::EndStep;
use loquent::world::activations::Logits;
use loquent::world::refusal::Refusal;
use loquent::world::sequence::Arrival;

use crate::support::{demo, fixtures, generate, run, some_prompt, spawn, take, vocab_size};

fn text(world: &mut World) -> String {
    world.resource_mut::<Messages<TokenGenerated>>().drain().map(|token| token.text).collect()
}

#[test]
fn a_text_is_all_that_a_first_program_spawns() {
    let mut world = World::new();
    load(&mut world, demo(), LoadOptions::default()).expect("the demo");
    let story = world.spawn(Prompt::text("Once upon a time")).id();
    run(&mut world, Budget::Step);
    assert!(!text(&mut world).is_empty(), "the model's tokenizer turned tokens into text");
    assert_eq!(world.get(story), Some(&Finished(FinishReason::Stop)), "the model's end tokens ended it");
}

#[test]
fn a_chat_goes_through_the_template_and_ends_with_the_turn() {
    let mut world = World::new();
    load(&mut world, demo(), LoadOptions::default().backend(Backend::Cpu)).expect("the demo");
    let speaker = world.spawn(Prompt::chat([ChatMessage::new("user", "Tell me of a cat.")])).id();
    run(&mut world, Budget::Step);
    let tokens = world.get::<Tokens>(speaker).expect("tokens");
    let expected = "<|im_start|>user\nTell me of a cat.<|im_end|>\n<|im_start|>assistant\n";
    let mut tokenizers = world.try_query::<&Tokenizer>().expect("a model");
    let tokenizer = tokenizers.single(&world).expect("a tokenizer");
    assert_eq!(tokens.prompt, tokenizer.encode(expected, false).expect("ids"));
    assert_eq!(world.get(speaker), Some(&Finished(FinishReason::Stop)));
}

#[test]
fn a_chat_is_rendered_by_the_options_beside_it() {
    let mut world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-bf16");
    let model = load(&mut world, folder, LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    let messages = [ChatMessage::new("user", "Hi")];
    let mut prompt_of = |enable_thinking| {
        let options = ChatOptions { enable_thinking, ..ChatOptions::default() };
        let template = world.get::<ChatTemplate>(model).expect("a template");
        let text = template.render(&messages, &options).expect("a rendering");
        let expected = world.get::<Tokenizer>(model).expect("a tokenizer").encode(&text, false).expect("ids");
        let speaker = world.spawn((Prompt::chat(messages.clone()), StopRules::after(1), ChatOptions::default())).id();
        world.get_mut::<ChatOptions>(speaker).expect("options").enable_thinking = enable_thinking;
        run(&mut world, Budget::Step);
        let found = world.get::<Tokens>(speaker).expect("tokens").prompt.clone();
        assert_eq!(found, expected);
        found
    };
    assert_ne!(prompt_of(true), prompt_of(false));
}

#[test]
fn text_without_a_tokenizer_and_a_chat_without_a_template_are_refused_by_name() {
    let without_text = fixtures().into_iter().find(|path| !path.join("tokenizer.json").exists()).expect("a fixture");
    let mut world = World::new();
    load(&mut world, without_text, LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    let stops = StopRules { stop_texts: vec!["x".into()], ..StopRules::after(1) };
    let refused = [
        (world.spawn(Prompt::text("x")).id(), "tokenizer.json"),
        (world.spawn(Prompt::chat([ChatMessage::new("user", "x")])).id(), "tokenizer.json"),
        (world.spawn((Prompt::ids([1]), stops)).id(), "tokenizer.json"),
    ];
    run(&mut world, Budget::Step);
    for (sequence, named) in refused {
        let Some(Finished(FinishReason::Refused(refusal))) = world.get(sequence) else { panic!("it was run") };
        assert!(refusal.to_string().contains(named), "{refusal}");
    }
}

#[test]
fn a_world_loaded_on_one_thread_speaks_on_another_with_the_same_bits() {
    let prompt = some_prompt(17, 100);
    let mut here = World::new();
    load(&mut here, &fixtures()[0], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    let expected = generate(&mut here, &prompt, 12);
    for threads in [1, 2, 3] {
        let options = LoadOptions::default().backend(Backend::Cpu).threads(threads);
        let loading = std::thread::spawn(move || LoadedModel::open(&fixtures()[0], options).expect("a fixture"));
        let mut world = World::new();
        loading.join().expect("loading").spawn(&mut world);
        let prompt = prompt.clone();
        let speaking = std::thread::spawn(move || {
            let tokens = generate(&mut world, &prompt, 12);
            (tokens, world)
        });
        let (tokens, mut world) = speaking.join().expect("speaking");
        assert_eq!(tokens, expected, "{threads} threads");
        assert_eq!(generate(&mut world, &some_prompt(17, 100), 12), expected, "{threads} threads, back here");
    }
}

#[test]
fn a_prompt_spawned_before_there_is_a_model_waits_for_one() {
    let mut world = World::new();
    let early = spawn(&mut world, &[1, 2, 3], 4);
    assert_eq!(advance(&mut world, Budget::Step), Progress::Idle);
    load(&mut world, &fixtures()[0], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, early).len(), 4);
}

#[test]
fn installing_again_and_registering_messages_first_change_nothing() {
    let mut world = World::new();
    MessageRegistry::register_message::<TokenGenerated>(&mut world);
    install(&mut world);
    load(&mut world, &fixtures()[0], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    install(&mut world);
    loquent::cpu::add_systems(&mut world);
    let mut reader = world.resource::<Messages<TokenGenerated>>().get_cursor();
    let expected = generate(&mut world, &[1, 2, 3], 2);
    // Once an update has passed, messages are still there.
    world.run_system_cached(bevy_ecs::message::message_update_system).expect("an update");
    let messages = world.resource::<Messages<TokenGenerated>>();
    assert_eq!(reader.read(messages).map(|message| message.id).collect::<Vec<_>>(), expected);
}

#[test]
fn a_budget_without_end_is_no_overflow() {
    let mut world = World::new();
    load(&mut world, &fixtures()[0], LoadOptions::default().backend(Backend::Cpu)).expect("a fixture");
    let sequence = spawn(&mut world, &[1, 2, 3], 4);
    run(&mut world, Budget::Time(Duration::MAX));
    assert_eq!(take(&mut world, sequence).len(), 4);
}

/// How often each row of logits was constrained.
#[derive(Resource, Default)]
struct Constrained(usize);

fn favour_token_five(mut logits: ResMut<Logits<Cpu>>, mut constrained: ResMut<Constrained>) {
    for row in logits.0.rows_mut() {
        row[5] += 1e6;
        constrained.0 += 1;
    }
}

#[test]
fn what_constrains_runs_once_a_row_however_the_head_is_cut() {
    let mut world = World::new();
    let model = load(&mut world, demo(), LoadOptions::default().backend(Backend::Cpu)).expect("the demo");
    world.init_resource::<Constrained>();
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(favour_token_five.in_set(StepSystems::Constrain));
    });
    assert!(vocab_size(&mut world) > 2 && world.get::<ModelConfig>(model).is_some());
    for budget in [Budget::Step, Budget::Pieces(1)] {
        world.resource_mut::<Constrained>().0 = 0;
        let sequences = [spawn(&mut world, &[1, 2, 3], 4), spawn(&mut world, &[4], 4)];
        run(&mut world, budget);
        for sequence in sequences {
            assert_eq!(take(&mut world, sequence), [5; 4], "{budget:?}");
        }
        assert_eq!(world.resource::<Constrained>().0, 8, "{budget:?}");
    }
}

#[test]
fn sequences_arrive_in_the_order_in_which_they_were_spawned() {
    let mut world = World::new();
    let arrivals: Vec<Arrival> =
        (0..5).map(|_| world.spawn(Prompt::ids([1])).get::<Arrival>().copied().expect("an arrival")).collect();
    assert!(arrivals.is_sorted() && arrivals.windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn a_directory_that_is_none_leaves_the_world_as_it_was() {
    let mut world = World::new();
    let error = load(&mut world, "no/such/directory", LoadOptions::default().backend(Backend::Cpu))
        .expect_err("nothing is there");
    assert!(error.to_string().contains("no/such/directory"), "{error}");
    assert_eq!(world.query::<&ModelConfig>().iter(&world).count(), 0);
    let refusal = Refusal::ModelNotNamed { models: 2 };
    assert!(refusal.to_string().contains("SpeaksWith"));
}
