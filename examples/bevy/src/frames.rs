//! How long frames took, and how much of that was language.

use std::time::{Duration, Instant};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use loquent::prelude::*;

/// Times of all frames.
#[derive(Resource)]
struct Frames {
    last: Instant,
    between: Vec<Duration>,
    language: Vec<Duration>,
}

pub fn plugin(app: &mut App) {
    app.insert_resource(Frames { last: Instant::now(), between: Vec::new(), language: Vec::new() })
        .add_systems(First, begin_frame)
        .add_systems(Update, (begin_language.before(LoquentSystems::Load), end_language.after(LoquentSystems::Advance)))
        .add_systems(Last, report.run_if(on_exit));
}

fn begin_frame(mut frames: ResMut<Frames>) {
    let now = Instant::now();
    let between = now - std::mem::replace(&mut frames.last, now);
    frames.between.push(between);
}

#[derive(Resource)]
struct Began(Instant);

fn begin_language(mut commands: Commands) {
    commands.insert_resource(Began(Instant::now()));
}

fn end_language(began: Res<Began>, mut frames: ResMut<Frames>) {
    frames.language.push(began.0.elapsed());
}

fn on_exit(exits: Option<Res<Messages<AppExit>>>) -> bool {
    exits.is_some_and(|exits| !exits.is_empty())
}

fn report(mut frames: ResMut<Frames>, budget: Res<FrameBudget>) {
    let Frames { between, language, .. } = &mut *frames;
    println!("{} frames, ms        p50    p95    p99    max", language.len());
    println!("from frame to frame {}", percentiles(between));
    println!("language            {}, with a budget of {:.1}", percentiles(language), 1e3 * budget.0.as_secs_f64());
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (share * times.len() as f64) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, |time| 1e3 * time.as_secs_f64())
    };
    [0.5, 0.95, 0.99, 1.0].map(|share| format!("{:6.2}", at(share))).join(" ")
}
