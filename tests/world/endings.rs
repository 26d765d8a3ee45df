//! How a sequence ends, and how a host hears of it.

use std::sync::LazyLock;

use bevy_ecs::prelude::*;
use loquent::checkpoint::{EndTokenSource, TextStream};
use loquent::prelude::*;
use loquent::world::cache::OfSequence;
use loquent::world::model::Model;
use loquent::world::refusal::Refusal;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{default_world, fixtures, generate, run, some_prompt, spawn, take, vocab_size};
use crate::tiny_checkpoint::TinyCheckpoint;

/// Every [`SequenceFinished`] that an observer saw.
#[derive(Resource, Default)]
struct Heard(Vec<(Entity, FinishReason)>);

fn world_that_listens() -> World {
    let mut world = default_world(&fixtures()[0]);
    world.init_resource::<Heard>();
    world.add_observer(|finished: On<SequenceFinished>, mut heard: ResMut<Heard>| {
        heard.0.push((finished.sequence, finished.reason.clone()));
    });
    world
}

/// Why a sequence of `prompt` under `rules` ends, as its component and the event say alike.
fn ending(world: &mut World, prompt: &[u32], rules: StopRules) -> FinishReason {
    let sequence = world.spawn((Prompt::ids(prompt), rules)).id();
    run(world, Budget::Step);
    let reason = world.get::<Finished>(sequence).expect("it has ended").0.clone();
    assert_eq!(world.resource::<Heard>().0.last(), Some(&(sequence, reason.clone())));
    assert!(world.get::<Running>(sequence).is_none() && world.get::<Queued>(sequence).is_none());
    reason
}

#[test]
fn each_token_is_a_message_in_order() {
    let mut world = world_that_listens();
    let prompt = some_prompt(5, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 6);
    let messages: Vec<_> = world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
    assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), expected);
    assert_eq!(messages.iter().map(|message| message.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_sequence_ends_at_its_length_or_at_a_stop_token() {
    let mut world = world_that_listens();
    let prompt = some_prompt(5, vocab_size(&mut world));
    let tokens = generate(&mut world, &prompt, 6);
    let length = StopRules::after(6);
    assert_eq!(ending(&mut world, &prompt, length), FinishReason::Length);
    let stop = StopRules { max_new_tokens: Some(6), end_tokens: Some(vec![9999, tokens[2]]), ..StopRules::default() };
    assert_eq!(ending(&mut world, &prompt, stop), FinishReason::Stop);
}

#[test]
fn without_a_limit_a_sequence_ends_at_the_last_position() {
    let mut world = world_that_listens();
    let prompt = some_prompt(500, vocab_size(&mut world));
    assert_eq!(ending(&mut world, &prompt, StopRules::default()), FinishReason::Length);
    let mut sequences = world.query::<&Tokens>();
    let generated = sequences.single(&world).expect("one sequence").generated.len();
    assert_eq!(500 + generated, 512, "the fixture has 512 positions");
}

#[test]
fn more_tokens_than_fit_are_as_many_as_fit() {
    let mut world = world_that_listens();
    let prompt = some_prompt(509, vocab_size(&mut world));
    for (asked, given) in [(2, 2), (3, 3), (4, 3), (usize::MAX, 3)] {
        let sequence = spawn(&mut world, &prompt, asked);
        run(&mut world, Budget::Step);
        assert_eq!(world.get::<Finished>(sequence).expect("it has ended").0, FinishReason::Length);
        assert_eq!(world.get::<Tokens>(sequence).expect("tokens").generated.len(), given, "{asked} asked for");
    }
}

#[test]
fn a_prompt_that_fills_the_context_is_read_where_nothing_new_is_asked_for() {
    let mut world = world_that_listens();
    assert_eq!(ending(&mut world, &[1; 512], StopRules::after(0)), FinishReason::Length);
}

#[test]
fn a_prompt_that_cannot_be_run_is_refused_and_disturbs_nobody() {
    let mut world = world_that_listens();
    let vocab_size = vocab_size(&mut world);
    let refusals = [
        (vec![], None, Refusal::EmptyPrompt),
        (vec![1, 400, 2], None, Refusal::UnknownToken { index: 1, id: 400, vocab_size }),
        (vec![1; 512], None, Refusal::ContextOverflow { prompt: 512, context: 512 }),
        (vec![1; 512], Some(1), Refusal::ContextOverflow { prompt: 512, context: 512 }),
        (vec![1; 513], Some(0), Refusal::ContextOverflow { prompt: 513, context: 512 }),
    ];
    for (prompt, max_new_tokens, refusal) in refusals {
        let rules = StopRules { max_new_tokens, ..StopRules::default() };
        assert_eq!(ending(&mut world, &prompt, rules), FinishReason::Refused(refusal));
    }
    assert_eq!(generate(&mut world, &[1, 2], 3).len(), 3);
}

#[test]
fn a_second_prompt_or_a_second_queueing_begins_anew_and_leaks_nothing() {
    let mut world = world_that_listens();
    let caches = |world: &mut World| world.query::<&OfSequence>().iter(world).count();
    let second_prompt =
        |world: &mut World, sequence: Entity| _ = world.entity_mut(sequence).insert(Prompt::ids([1, 2, 5, 6]));
    let queued_by_hand = |world: &mut World, sequence: Entity| _ = world.entity_mut(sequence).insert(Queued);
    let [first, second] = [&[1, 2, 3][..], &[1, 2, 5, 6]].map(|prompt| generate(&mut world, prompt, 8));
    for (again, expected) in [(second_prompt as fn(&mut World, Entity), &second), (queued_by_hand, &first)] {
        for steps in [2, 100] {
            let sequence = spawn(&mut world, &[1, 2, 3], 8);
            for _ in 0..steps {
                advance(&mut world, Budget::Step);
            }
            let before = caches(&mut world);
            world.resource_mut::<Heard>().0.clear();
            again(&mut world, sequence);
            run(&mut world, Budget::Step);
            let cancelled = (steps == 2).then_some((sequence, FinishReason::Cancelled));
            let heard: Vec<_> = cancelled.into_iter().chain([(sequence, FinishReason::Length)]).collect();
            assert_eq!(world.resource::<Heard>().0, heard);
            assert_eq!(caches(&mut world), before);
            assert_eq!(take(&mut world, sequence), *expected);
        }
    }
}

#[test]
fn weights_that_overflow_end_a_sequence_instead_of_making_tokens_up() {
    let mut world = world_that_listens();
    for mut model in world.query::<&mut Model<Cpu>>().iter_mut(&mut world) {
        model.norm.fill(f32::MAX);
    }
    assert_eq!(ending(&mut world, &[1, 2, 3], StopRules::default()), FinishReason::NonFinite);
}

/// Which tokens end a text of the tiny checkpoint with these files, and why.
fn ends(files: &[(&str, Value)], chat: bool) -> Vec<(u32, EndTokenSource)> {
    let tiny = TinyCheckpoint::new();
    for (name, content) in files {
        let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        tiny.write(name, text);
    }
    let checkpoint = tiny.load().expect("a checkpoint");
    checkpoint.end_tokens(chat).into_iter().map(|end| (end.id, end.source)).collect()
}

#[test]
fn a_text_ends_at_the_tokens_of_the_configurations() {
    use EndTokenSource::{GenerationConfig, ModelConfig};
    let files = [("tokenizer_config.json", json!({"eos_token": "<|start|>"}))];
    assert_eq!(ends(&files, false), [(263, ModelConfig)]);
    let files = [("generation_config.json", json!({"eos_token_id": [262, 5, 262]}))];
    assert_eq!(ends(&files, false), [(262, GenerationConfig), (5, GenerationConfig)]);
    assert_eq!(ends(&[("generation_config.json", json!({"eos_token_id": []}))], false), []);
}

#[test]
fn a_chat_ends_at_the_tokenizers_and_the_templates_tokens_as_well() {
    use EndTokenSource::{ChatTemplate, GenerationConfig, ModelConfig, TokenizerConfig};
    let generation = ("generation_config.json", json!({"eos_token_id": 5}));
    let eos = ("tokenizer_config.json", json!({"eos_token": "<|start|>"}));
    let template = |ending: &str| {
        let text = format!("{{% for message in messages %}}{{{{ message.content }}}}{ending}{{% endfor %}}");
        ("chat_template.jinja", Value::from(text))
    };
    let all = [generation.clone(), eos.clone(), template(" \n<|end|>\n")];
    assert_eq!(ends(&all, true), [(5, GenerationConfig), (262, TokenizerConfig), (263, ChatTemplate)]);
    assert_eq!(ends(&all, false), [(5, GenerationConfig)]);
    // Each token once, for the first reason there is.
    assert_eq!(ends(&[template("<|end|>")], true), [(263, ModelConfig)]);
    assert_eq!(ends(&[eos, template("<|start|>")], true), [(263, ModelConfig), (262, TokenizerConfig)]);
    // Neither words nor a token that is not special end a message.
    for ending in ["", "\n", "bye<|end|>", "<think a>", "<|no token|>"] {
        assert_eq!(ends(&[generation.clone(), template(ending)], true), [(5, GenerationConfig)], "{ending:?}");
    }
    // A template that is none keeps nobody from using the model.
    let broken = ("chat_template.jinja", Value::from("{% for"));
    assert_eq!(ends(&[generation, broken], true), [(5, GenerationConfig)]);
}

#[test]
fn an_end_token_says_what_it_is_and_why() {
    let tiny = TinyCheckpoint::new();
    let said = tiny.load().expect("a checkpoint").end_tokens(true)[0].to_string();
    assert_eq!(said, "token 263, \"<|end|>\", ends the text: config.json's eos_token_id names it");
    tiny.remove("tokenizer.json");
    let said = tiny.load().expect("a checkpoint").end_tokens(true)[0].to_string();
    assert_eq!(said, "token 263 ends the text: config.json's eos_token_id names it");
}

/// The stream of the tiny tokenizer: 262 is `<|start|>`, 263 `<|end|>`, smaller ids are bytes.
fn stream() -> TextStream {
    static STREAM: LazyLock<TextStream> =
        LazyLock::new(|| TinyCheckpoint::new().load().expect("a checkpoint").tokenizer.expect("a tokenizer").stream());
    STREAM.clone()
}

/// What is shown of `ids`, and after how many of them a stop string ended it.
fn shown(ids: &[u32], stops: &[&str]) -> (String, Option<usize>) {
    let mut transcript = Transcript::new(stream(), stops.iter().map(|&stop| stop.to_owned()).collect());
    let mut text = String::new();
    for (index, &id) in ids.iter().enumerate() {
        let heard = transcript.push(id);
        text.push_str(&heard.text);
        if heard.stopped {
            assert_eq!(transcript.finish(), "");
            return (text, Some(index + 1));
        }
    }
    text.push_str(&transcript.finish());
    (text, None)
}

/// The ids of `text`, in which `[` is `<|start|>` and `]` is `<|end|>`.
fn ids(text: &str) -> Vec<u32> {
    let id = |byte| match byte {
        b'[' => 262,
        b']' => 263,
        byte => u32::from(byte),
    };
    text.bytes().map(id).collect()
}

#[test]
fn a_stop_string_may_be_or_contain_special_tokens_which_are_not_shown() {
    for (text, stops, expected) in [
        ("foo]bar", &["<|end|>"][..], ("foo", Some(4))),
        ("foo]bar", &["o<|end|>"], ("fo", Some(4))),
        ("foo]bar", &["foo<|end|>ba"], ("", Some(6))),
        ("fo[o]bar", &["<|start|>o<|end|>"], ("fo", Some(5))),
        ("a[]b", &["<|end|>"], ("a", Some(3))),
        ("foo bar]", &["foo<|end|>"], ("foo bar", None)),
        ("foo[bar]", &["foo<|end|>"], ("foobar", None)),
        ("]a]ab", &["<|end|>ab"], ("a", Some(5))),
        // What is not shown does not come between what is.
        ("foo]bar", &["foobar"], ("", Some(7))),
        ("x]foo", &["foo"], ("x", Some(5))),
        // Nor is a part of it text.
        ("a[b]c", &["|", "start", "end|>c"], ("abc", None)),
        // The first to be completed.
        ("foo]", &["oo", "foo<|end|>"], ("f", Some(3))),
        ("a]b", &["b", "<|end|>"], ("a", Some(2))),
    ] {
        assert_eq!(shown(&ids(text), stops), (expected.0.to_owned(), expected.1), "{text} until {stops:?}");
    }
}

#[test]
fn a_special_token_that_is_spelled_out_ends_a_text_as_well() {
    let spelled: Vec<u32> = "a<|end|>b".bytes().map(u32::from).collect();
    assert_eq!(shown(&spelled, &["<|end|>"]), ("a".to_owned(), Some(8)));
}

proptest! {
    /// However special tokens and beginnings of stop strings are mixed.
    #[test]
    fn what_is_shown_is_the_text_before_the_first_stop_string(text in "[ab\\[\\]]{0,12}", stop in "[ab]{1,3}", special in "[ab]{0,2}\\][ab]{0,2}") {
        let written = special.replace(']', "<|end|>");
        let visible: String = text.chars().filter(|character| character.is_ascii_alphabetic()).collect();
        let expected = (1..=text.len()).find_map(|length| {
            let so_far: String = text[..length].chars().filter(|character| character.is_ascii_alphabetic()).collect();
            let shown_before = |place: usize| text[..place].chars().filter(|character| character.is_ascii_alphabetic()).count();
            let place = so_far.find(&stop).into_iter().chain(text[..length].find(&special).map(shown_before)).min()?;
            Some((so_far[..place].to_owned(), Some(length)))
        });
        let found = shown(&ids(&text), &[&stop, &written]);
        prop_assert_eq!(found, expected.unwrap_or((visible, None)));
    }
}
