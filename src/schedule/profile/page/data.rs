//! What the page's script is given: the tables, some steps and some calls, as JSON. Times are in microseconds.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Call, Phase, Profile, Step, SystemCost, Timeline};
use crate::schedule::Budget;

/// Steps that are shown run by run, at most: 240 runs of each take some 7 KB.
const STEPS: usize = 200;
/// Calls that are shown, at most.
const CALLS: usize = 2000;

pub(super) fn data(profile: &Profile, timeline: &Timeline, facts: &[(&str, String)], bandwidth: f64) -> Value {
    let phases = Phase::ALL.into_iter().filter(|&phase| profile.steps(phase) > 0);
    let steps: Vec<usize> =
        (0..timeline.steps.len()).filter(|&step| timeline.steps[step].phase != Phase::Idle).collect();
    let step_time = |&step: &usize| {
        let extent = Timeline::extent(timeline.runs_of(&timeline.steps[step]));
        extent.end - extent.start
    };
    let shown_steps = choose(&steps, step_time, STEPS);
    let calls: Vec<usize> = (0..timeline.calls.len()).collect();
    let shown_calls = choose(&calls, |&call| timeline.calls[call].time, CALLS);
    let parts = parts(timeline);
    json!({
        "facts": facts,
        "bandwidth": bandwidth,
        "phases": phases.map(|phase| self::phase(profile, phase, bandwidth)).collect::<Vec<_>>(),
        "systems": timeline.systems.iter().map(|system| [&system.name, &system.set]).collect::<Vec<_>>(),
        "steps": shown_steps.iter().map(|&number| step(timeline, number)).collect::<Vec<_>>(),
        "steps_left_out": steps.len() - shown_steps.len() + timeline.steps_left_out,
        "calls": shown_calls.iter().map(|&number| call(&timeline.calls[number], number, &parts[number])).collect::<Vec<_>>(),
        "calls_left_out": calls.len() - shown_calls.len(),
    })
}

/// The first half of what may be shown, and of the rest those that took longest; in their order.
fn choose(all: &[usize], time: impl Fn(&usize) -> Duration, most: usize) -> Vec<usize> {
    if all.len() <= most {
        return all.to_vec();
    }
    let (first, rest) = all.split_at(most / 2);
    let mut rest = rest.to_vec();
    rest.sort_by_key(|index| std::cmp::Reverse(time(index)));
    rest.truncate(most - first.len());
    rest.sort_unstable();
    [first, &rest].concat()
}

fn microseconds(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 100.0).round() / 10.0
}

fn phase(profile: &Profile, phase: Phase, bandwidth: f64) -> Value {
    let costs: Vec<SystemCost> = profile.costs_of(phase).collect();
    let total: f64 = costs.iter().map(SystemCost::seconds).sum();
    let of_host: Duration = costs.iter().map(|cost| cost.host.total).sum();
    let rows = costs.iter().map(|cost| {
        let times = cost.times();
        json!({
            "system": cost.system, "set": cost.set, "calls": cost.host.count, "total": 1e6 * cost.seconds(),
            "share": cost.seconds() / total, "mean": 1e6 * times.mean(), "p50": microseconds(times.p50),
            "p99": microseconds(times.p99), "bytes": cost.bytes, "bandwidth": cost.bandwidth(), "speed": cost.speed(),
            "of_memory": cost.bandwidth() / bandwidth, "on_device": cost.device.count > 0,
        })
    });
    json!({"name": phase.name(), "steps": profile.steps(phase), "total": microseconds(of_host), "rows": rows.collect::<Vec<_>>()})
}

fn step(timeline: &Timeline, number: usize) -> Value {
    let step: &Step = &timeline.steps[number];
    let runs = timeline.runs_of(step);
    let start = Timeline::extent(runs).start;
    let sequences = step.sequences.iter().map(|rows| json!([rows.name, rows.rows, rows.position]));
    let runs = runs
        .iter()
        .map(|run| json!([run.system, run.layer, run.call, microseconds(run.start - start), microseconds(run.time)]));
    json!({
        "number": number, "phase": step.phase.name(), "rows": step.rows(), "sequences": sequences.collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(),
    })
}

/// What of a call went to which set, and which steps it had a part in.
#[derive(Clone, Default)]
struct Parts<'a> {
    sets: HashMap<&'a str, Duration>,
    steps: Vec<usize>,
}

fn parts(timeline: &Timeline) -> Vec<Parts<'_>> {
    let mut parts = vec![Parts::default(); timeline.calls.len()];
    for (number, step) in timeline.steps.iter().enumerate() {
        for run in timeline.runs_of(step) {
            let part = &mut parts[run.call];
            *part.sets.entry(&timeline.systems[run.system].set).or_default() += run.time;
            if part.steps.last() != Some(&number) {
                part.steps.push(number);
            }
        }
    }
    parts
}

fn call(call: &Call, number: usize, parts: &Parts<'_>) -> Value {
    let sets: HashMap<_, _> = parts.sets.iter().map(|(&set, &time)| (set, microseconds(time))).collect();
    let (budget, pieces) = match call.budget {
        Budget::Time(limit) => (Some(microseconds(limit)), None),
        Budget::Pieces(pieces) => (None, Some(pieces)),
        Budget::Step => (None, None),
    };
    json!({
        "number": number, "start": microseconds(call.start), "used": microseconds(call.time), "budget": budget,
        "pieces": pieces, "progress": call.progress.map(|progress| format!("{progress:?}")), "sets": sets,
        "steps": parts.steps,
    })
}
