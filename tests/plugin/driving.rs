//! When sequences are taken further, and for how long.

use std::time::{Duration, Instant};

use bevy_app::prelude::*;
use bevy_app::{RunMode, ScheduleRunnerPlugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::ScheduleLabel;
use loquent::prelude::*;

use crate::{app, app_with_demo, ask_for, demo, has_ended, on_cpu, story, update_until};

/// What came when in a frame, and how many tokens there were.
#[derive(Resource, Default)]
struct Frame(Vec<(&'static str, usize)>);

fn note(name: &'static str) -> impl FnMut(ResMut<Frame>, Query<&Tokens>) {
    move |mut frame, sequences| frame.0.push((name, sequences.iter().map(|tokens| tokens.generated.len()).sum()))
}

#[test]
fn systems_run_before_and_after_the_sets() {
    let (mut app, _) = app_with_demo();
    app.init_resource::<Frame>();
    app.world_mut().resource_mut::<FrameBudget>().0 = Duration::from_secs(1);
    app.add_systems(
        Update,
        (
            note("after").after(LoquentSystems::Advance),
            note("before").before(LoquentSystems::Advance).after(LoquentSystems::Load),
        ),
    );
    app.world_mut().spawn(story(8));
    app.update();
    assert_eq!(app.world().resource::<Frame>().0, [("before", 0), ("after", 8)]);
}

#[test]
fn a_run_condition_on_the_set_holds_everybody() {
    #[derive(Resource)]
    struct Held(bool);
    let (mut app, _) = app_with_demo();
    app.insert_resource(Held(true));
    app.configure_sets(Update, LoquentSystems::Advance.run_if(|held: Res<Held>| !held.0));
    let sequence = app.world_mut().spawn(story(8)).id();
    (0..20).for_each(|_| app.update());
    assert!(app.world().get::<Queued>(sequence).is_some());
    app.insert_resource(Held(false));
    update_until(&mut app, |world| has_ended(world, sequence));
}

/// The times that frames gave to a few long stories, in order of length, and how many tokens there were.
fn frames(app: &mut App, count: usize) -> (Vec<Duration>, usize) {
    let tokens = |app: &mut App| -> usize {
        app.world_mut().query::<&Tokens>().iter(app.world()).map(|tokens| tokens.generated.len()).sum()
    };
    let before = tokens(app);
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let started = Instant::now();
            app.update();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times, tokens(app) - before)
}

#[test]
fn frames_keep_to_a_budget_that_may_change() {
    let (mut app, _) = app_with_demo();
    for _ in 0..3 {
        app.world_mut().spawn(story(100_000));
    }
    frames(&mut app, 50);
    app.world_mut().resource_mut::<FrameBudget>().0 = Duration::from_millis(4);
    let (short, few) = frames(&mut app, 30);
    // Other tests hold up most of them, each time for as long as the system lets them compute.
    assert!(short[2] < Duration::from_millis(12), "{short:?}");

    app.world_mut().resource_mut::<FrameBudget>().0 = Duration::from_millis(100);
    let (long, many) = frames(&mut app, 5);
    assert!(long[0] > Duration::from_millis(50), "{long:?}");
    assert!(many * 30 > few * 5, "{many} tokens in 5 frames, {few} in 30");

    app.world_mut().resource_mut::<FrameBudget>().0 = Duration::ZERO;
    let (_, tokens) = frames(&mut app, 100);
    assert!(tokens > 0, "a piece a frame");
}

#[test]
fn an_idle_frame_costs_little() {
    let (mut app, _) = app_with_demo();
    let (times, _) = frames(&mut app, 50);
    assert!(times[25] < Duration::from_millis(1), "{times:?}");

    // Nor does one in which all wait for a model.
    let coming = app.world_mut().spawn(ModelState::Loading(0.0)).id();
    app.world_mut().spawn((SpeaksWith(coming), story(8)));
    let (times, _) = frames(&mut app, 50);
    assert!(times[25] < Duration::from_millis(1), "{times:?}");
}

#[test]
fn sequences_advance_in_the_schedule_that_was_chosen() {
    let mut app = App::new();
    app.add_plugins(LoquentPlugin { schedule: PostUpdate.intern(), budget: Duration::from_secs(1) });
    app.init_resource::<Frame>();
    app.add_systems(Last, note("last")).add_systems(Update, note("update"));
    loquent::load(app.world_mut(), demo(), on_cpu()).expect("the demo");
    app.world_mut().spawn(story(8));
    app.update();
    assert_eq!(app.world().resource::<Frame>().0, [("update", 0), ("last", 8)]);
}

#[test]
fn an_app_that_runs_by_itself_ends_when_all_is_said() {
    let mut app = app();
    app.add_plugins(ScheduleRunnerPlugin { run_mode: RunMode::Loop { wait: Some(Duration::from_millis(1)) } });
    ask_for(&mut app, demo());
    app.world_mut().spawn(story(20));
    app.add_observer(|finished: On<SequenceFinished>, mut exit: MessageWriter<AppExit>| {
        exit.write(if finished.reason == FinishReason::Length { AppExit::Success } else { AppExit::error() });
    });
    assert_eq!(app.run(), AppExit::Success);
}
