//! Who speaks, and what happens to them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_log::{error, info};
use loquent::prelude::*;

use crate::saving::Restored;

/// What is to happen until the end.
const PLOT: [&str; 6] = [
    "the model is there",
    "Ann has answered two questions",
    "Ben has answered",
    "Ben's twin remembers what Ben has said",
    "Cat was saved and restored, and has answered",
    "Dan was interrupted",
];

/// If it takes longer, even in a build for debugging, something is wrong.
const LONGEST: Duration = Duration::from_secs(180);

/// What of the plot has happened.
#[derive(Resource, Default)]
struct Happened(BTreeSet<&'static str>);

/// What a character was heard to say.
#[derive(Component, Default)]
pub struct Says(pub String);

pub fn plugin(model: PathBuf) -> impl Fn(&mut App) + Send + Sync + 'static {
    move |app| {
        let model = model.clone();
        let settle = move |models: Models, commands: Commands| settle(models, commands, model.clone());
        app.init_resource::<Happened>()
            .add_systems(Startup, settle)
            .add_systems(Update, (hear, interrupt, end).chain().after(LoquentSystems::Advance))
            .add_observer(be_ready)
            .add_observer(give_up)
            .add_observer(go_on);
    }
}

fn settle(mut models: Models, mut commands: Commands, directory: PathBuf) {
    let model = models.load(directory);
    let village = "You live in a small village by the sea. Last night somebody took the key of the lighthouse.";
    let village = commands.spawn((SpeaksWith(model), SystemPrompt(village.into()), Name::new("village"))).id();
    let characters = [
        ("Ann", "Who are you?", 40),
        ("Ben", "Where is the key?", 40),
        ("Cat", "Have you seen a boat?", 60),
        ("Dan", "Tell me a long story.", 1000),
    ];
    for (index, (name, question, length)) in characters.into_iter().enumerate() {
        let sampling = Sampling { temperature: 0.7, top_p: 0.9, ..Default::default() };
        // Dan goes on until he is interrupted.
        let end_tokens = (name == "Dan").then(Vec::new);
        let rules = StopRules { end_tokens, ..StopRules::after(length) };
        let character = (ForkOf(village), Name::new(name), sampling, Seed(index as u64), rules, Says::default());
        commands.spawn(character).say(question);
    }
}

fn be_ready(_: On<ModelLoaded>, mut happened: ResMut<Happened>) {
    happened.0.insert(PLOT[0]);
}

fn give_up(failed: On<ModelFailed>, mut exit: MessageWriter<AppExit>) {
    error!("{}", failed.error);
    exit.write(AppExit::error());
}

fn hear(mut words: MessageReader<Spoken>, mut characters: Query<&mut Says>) {
    for word in words.read() {
        if let Ok(mut says) = characters.get_mut(word.sequence) {
            says.0 += &word.text;
        }
    }
}

/// Has heard enough of Dan.
fn interrupt(mut commands: Commands, characters: Query<(Entity, &Name, &Says), With<Running>>) {
    for (character, name, says) in &characters {
        if name.as_str() == "Dan" && says.0.split(' ').count() > 20 {
            commands.entity(character).stop();
        }
    }
}

/// What follows when a character has ended.
fn go_on(
    finished: On<SequenceFinished>,
    mut commands: Commands,
    characters: Query<(&Name, &Conversation, Has<Restored>), With<Says>>,
    mut happened: ResMut<Happened>,
) {
    let Ok((name, conversation, is_restored)) = characters.get(finished.sequence) else { return };
    let answer = conversation.messages().last().and_then(ChatMessage::content).unwrap_or_default();
    info!("{name}: {answer} ({:?})", finished.reason);
    let has_answered = matches!(finished.reason, FinishReason::Stop | FinishReason::Length);
    match name.as_str() {
        "Ann" if has_answered && conversation.turns() == 1 => _ = commands.entity(finished.sequence).say("And then?"),
        "Ann" if has_answered && conversation.turns() == 2 => _ = happened.0.insert(PLOT[1]),
        "Ben" if has_answered => {
            happened.0.insert(PLOT[2]);
            let twin = commands.entity(finished.sequence).fork();
            commands.entity(twin).insert((Name::new("Ben's twin"), Says::default())).say("Are you sure?");
        }
        "Ben's twin" if has_answered && conversation.turns() == 2 => _ = happened.0.insert(PLOT[3]),
        "Cat" if has_answered && is_restored => _ = happened.0.insert(PLOT[4]),
        "Dan" if finished.reason == FinishReason::Cancelled => _ = happened.0.insert(PLOT[5]),
        _ => error!("{name} ended too early"),
    }
}

fn end(happened: Res<Happened>, started: Local<Started>, mut exit: MessageWriter<AppExit>) {
    let missing: Vec<_> = PLOT.into_iter().filter(|event| !happened.0.contains(event)).collect();
    if missing.is_empty() {
        exit.write(AppExit::Success);
    } else if started.0.elapsed() > LONGEST {
        error!("after {} s, this has not happened: {}", LONGEST.as_secs(), missing.join(", "));
        exit.write(AppExit::error());
    }
}

struct Started(Instant);

impl Default for Started {
    fn default() -> Self {
        Self(Instant::now())
    }
}
