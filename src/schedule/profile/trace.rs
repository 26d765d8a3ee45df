//! The profile as a timeline for Perfetto or `chrome://tracing`: four tracks, of the calls of `advance`, of steps, of
//! layers and of systems.

use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};

use super::timeline::{Call, Step, SystemRun, Timeline};
use crate::schedule::Budget;

/// The tracks, from top to bottom.
const TRACKS: [&str; 4] = ["calls of advance", "steps", "layers", "systems"];
const CALLS: usize = 0;
const STEPS: usize = 1;
const LAYERS: usize = 2;
const SYSTEMS: usize = 3;

/// Sequences that the events of a step's systems name, at most: the step itself names all.
const NAMED: usize = 8;

/// The timeline in the format of Chrome's traces: a JSON object with an event for each thing that lasted.
///
/// The events of a step, of its layers and of its systems say its number, its rows and whose they are; those of layers and
/// of systems say which layer.
#[must_use]
pub fn chrome_trace(timeline: &Timeline) -> String {
    let mut events: Vec<(Duration, String)> = timeline.calls.iter().map(call).collect();
    for (number, step) in timeline.steps.iter().enumerate() {
        add_step(&mut events, timeline, number, step);
    }
    events.sort_by_key(|&(start, _)| start);
    let mut text = format!(
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"steps left out\":\"{}\"}},\"traceEvents\":[\n{}",
        timeline.steps_left_out,
        json!({"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "loquent"}})
    );
    let tracks = TRACKS.iter().enumerate().flat_map(|(track, name)| {
        let about = |what: &str, args: Value| {
            json!({"name": what, "ph": "M", "pid": 1, "tid": track + 1, "args": args}).to_string()
        };
        [about("thread_name", json!({"name": name})), about("thread_sort_index", json!({"sort_index": track}))]
    });
    for event in tracks.chain(events.into_iter().map(|(_, event)| event)) {
        text += &format!(",\n{event}");
    }
    text + "\n]}\n"
}

fn event(track: usize, name: String, category: &str, extent: Range<Duration>, args: Value) -> (Duration, String) {
    let microseconds = |time: Duration| time.as_nanos() as f64 / 1e3;
    let event = json!({
        "name": name, "cat": category, "ph": "X", "pid": 1, "tid": track + 1,
        "ts": microseconds(extent.start), "dur": microseconds(extent.end.saturating_sub(extent.start)), "args": args,
    });
    (extent.start, event.to_string())
}

fn call(call: &Call) -> (Duration, String) {
    let used = 1e3 * call.time.as_secs_f64();
    let mut args = json!({"used ms": used});
    let name = match call.budget {
        Budget::Time(limit) => {
            let limit = 1e3 * limit.as_secs_f64();
            args["budget ms"] = limit.into();
            args["left ms"] = (limit - used).into();
            format!("advance: {used:.2} of {limit} ms")
        }
        Budget::Pieces(pieces) => {
            args["budget pieces"] = pieces.into();
            format!("advance: at most {pieces} pieces")
        }
        Budget::Step => "advance: a step".to_owned(),
    };
    args["progress"] = call.progress.map_or(Value::Null, |progress| format!("{progress:?}").into());
    event(CALLS, name, "advance", call.start..call.start + call.time, args)
}

fn add_step(events: &mut Vec<(Duration, String)>, timeline: &Timeline, number: usize, step: &Step) {
    let (runs, rows) = (timeline.runs_of(step), step.rows());
    let names = {
        let named = step.sequences.iter().take(NAMED).map(|sequence| &*sequence.name);
        let names = named.collect::<Vec<_>>().join(", ");
        match step.sequences.len().saturating_sub(NAMED) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    };
    let sequences: Vec<_> = step
        .sequences
        .iter()
        .map(|rows| json!({"sequence": rows.name, "rows": rows.rows, "position": rows.position}))
        .collect();
    let phase = step.phase.name();
    let title = format!("{phase}: {rows} {} of {names}", if rows == 1 { "row" } else { "rows" });
    let title = if rows == 0 { phase.to_owned() } else { title };
    let args = json!({"step": number, "phase": phase, "rows": rows, "sequences": sequences});
    events.push(event(STEPS, title, phase, Timeline::extent(runs), args));

    let args = |layer: Option<usize>| {
        let mut args = json!({"step": number, "phase": phase, "rows": rows, "sequences": names});
        if let Some(layer) = layer {
            args["layer"] = layer.into();
        }
        args
    };
    let mut passed = false;
    for part in runs.chunk_by(|a, b| (a.call, a.layer) == (b.call, b.layer)) {
        let layer = part[0].layer;
        let name = match layer {
            Some(layer) => format!("layer {layer}"),
            None if passed => "end".to_owned(),
            None => "begin".to_owned(),
        };
        passed |= layer.is_some();
        events.push(event(LAYERS, name, phase, Timeline::extent(part), args(layer)));
    }
    for &SystemRun { system, layer, start, time, .. } in runs {
        let system = &timeline.systems[system];
        events.push(event(SYSTEMS, system.name.clone(), &system.set, start..start + time, args(layer)));
    }
}
