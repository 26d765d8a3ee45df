//! What a host reads of the profile: costs by phase, the timeline, the trace and the page made of it.

use std::collections::HashSet;
use std::time::Duration;

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::LayerPass;
use loquent::schedule::profile::{Phase, Profile, SystemCost, Timeline, chrome_trace, html_page};
use loquent::world::layer::LayerIndex;
use serde_json::Value;

use crate::support::{default_world, fixtures, generate, run, spawn};

/// A world whose profile is on.
fn profiled(timeline: bool) -> World {
    let mut world = default_world(&fixtures()[0]);
    loquent::schedule::install(&mut world);
    world.resource_mut::<Profile>().start(timeline);
    world
}

fn layers(world: &mut World) -> usize {
    world.query::<&LayerIndex>().iter(world).count()
}

fn calls(costs: impl IntoIterator<Item = SystemCost>, system: &str) -> u64 {
    costs.into_iter().find(|cost| cost.system == system).map_or(0, |cost| cost.host.count)
}

#[test]
fn prompts_and_decoding_are_counted_apart_with_what_ran_before_it_was_known_which() {
    let mut world = profiled(false);
    world.resource_mut::<Limits>().rows = 2;
    // Two steps of two rows and one of the last token of the prompt; then three of generated ones.
    generate(&mut world, &[1, 2, 3, 4, 5], 4);
    let layers = layers(&mut world) as u64;
    let profile = world.resource::<Profile>();
    assert_eq!(Phase::ALL.map(|phase| profile.steps(phase)), [3, 3, 1], "the last call found nothing to do");
    for system in ["settle", "fill_batch", "embed_tokens"] {
        let counted = Phase::ALL.map(|phase| calls(profile.costs_of(phase), system));
        assert_eq!(counted[..2], [3, 3], "{system}");
    }
    assert_eq!(Phase::ALL.map(|phase| calls(profile.costs_of(phase), "run_mlp")), [3 * layers, 3 * layers, 0]);
}

#[test]
fn a_step_that_reads_a_prompt_beside_generating_is_a_prompts() {
    let mut world = profiled(false);
    let first = spawn(&mut world, &[1, 2], 6);
    advance(&mut world, Budget::Step);
    advance(&mut world, Budget::Step);
    spawn(&mut world, &[3, 4, 5], 1);
    advance(&mut world, Budget::Step);
    let profile = world.resource::<Profile>();
    assert_eq!(Phase::ALL.map(|phase| profile.steps(phase)), [2, 1, 0]);
    assert_eq!(world.get::<Tokens>(first).map(|tokens| tokens.generated.len()), Some(3), "both moved on");
}

#[test]
fn phases_add_up_to_the_whole_and_half_of_the_runs_take_no_longer_than_most() {
    let mut world = profiled(false);
    spawn(&mut world, &[1, 2, 3], 6);
    spawn(&mut world, &[4, 5, 6, 7], 3);
    run(&mut world, Budget::Pieces(1));
    let profile = world.resource::<Profile>();
    for whole in profile.costs() {
        let of = |phase| profile.costs_of(phase).find(|cost| (&cost.system, &cost.set) == (&whole.system, &whole.set));
        let parts: Vec<SystemCost> = Phase::ALL.into_iter().filter_map(of).collect();
        assert_eq!(parts.iter().map(|part| part.host.count).sum::<u64>(), whole.host.count);
        assert_eq!(parts.iter().map(|part| part.host.total).sum::<Duration>(), whole.host.total);
        assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), whole.bytes);
        assert_eq!(parts.iter().map(|part| part.operations).sum::<u64>(), whole.operations);
        for times in parts.iter().map(|part| part.host).chain([whole.host]) {
            assert!(times.p50 <= times.p99 && times.p99.as_secs_f64() <= 1.04 * times.total.as_secs_f64(), "{times:?}");
        }
    }
}

#[test]
fn percentiles_are_those_of_the_runs() {
    fn nap(mut runs: Local<u64>) {
        *runs += 1;
        // One in ten takes longer.
        std::thread::sleep(Duration::from_millis(if runs.is_multiple_of(10) { 30 } else { 3 }));
    }
    let mut world = profiled(true);
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(nap.after(LayerSystems::Mlp));
    });
    generate(&mut world, &[1, 2, 3], 12);
    let timeline = world.resource_mut::<Profile>().take_timeline();
    let nap = world.resource::<Profile>().costs().find(|cost| cost.system == "nap").expect("a host's system").host;
    let is_nap = |run: &&loquent::schedule::profile::SystemRun| timeline.systems[run.system].name == "nap";
    let mut times: Vec<Duration> = timeline.runs.iter().filter(is_nap).map(|run| run.time).collect();
    times.sort_unstable();
    assert_eq!(times.len() as u64, nap.count);
    for (told, share) in [(nap.p50, 0.5), (nap.p99, 0.99)] {
        let truth = times[(share * times.len() as f64).ceil() as usize - 1];
        assert!((told.as_secs_f64() / truth.as_secs_f64() - 1.0).abs() < 0.04, "{told:?} of {truth:?}");
    }
    assert!(nap.p99 > 5 * nap.p50);
}

#[test]
fn nothing_is_counted_of_a_step_that_began_before_the_profile_was_on_and_clearing_forgets_the_rest() {
    let mut world = default_world(&fixtures()[0]);
    spawn(&mut world, &[1, 2, 3], 2);
    assert_eq!(advance(&mut world, Budget::Pieces(1)), Progress::Suspended);
    world.resource_mut::<Profile>().start(true);
    while advance(&mut world, Budget::Pieces(1)) != Progress::StepDone {}
    assert_eq!(world.resource::<Profile>().costs().count(), 0);
    run(&mut world, Budget::Step);
    let layers = layers(&mut world) as u64;
    assert_eq!(calls(world.resource::<Profile>().costs(), "run_mlp"), layers);
    world.resource_mut::<Profile>().clear();
    let mut profile = world.resource_mut::<Profile>();
    assert_eq!((profile.costs().count(), profile.steps(Phase::Decode)), (0, 0));
    assert_eq!(profile.take_timeline().runs.len(), 0);
}

/// Two sequences, one of them named, cut into pieces; and the number of layers.
fn some_timeline() -> (World, Timeline, usize) {
    let mut world = profiled(true);
    let named = spawn(&mut world, &[1, 2, 3], 4);
    world.entity_mut(named).insert(Name::new("</script><b>Alice & Bob</b>"));
    let other = spawn(&mut world, &[4, 5], 2);
    run(&mut world, Budget::Pieces(2));
    let layers = layers(&mut world);
    let timeline = world.resource_mut::<Profile>().take_timeline();
    let names: Vec<&str> = timeline.steps[0].sequences.iter().map(|rows| &*rows.name).collect();
    assert_eq!(names, ["</script><b>Alice & Bob</b>", &other.to_string()]);
    (world, timeline, layers)
}

#[test]
fn a_timeline_says_which_step_layer_and_call_each_run_was_in() {
    let (_, timeline, layers) = some_timeline();
    assert_eq!(timeline.steps_left_out, 0);
    let rows: Vec<(Phase, usize)> = timeline.steps.iter().map(|step| (step.phase, step.rows())).collect();
    let expected = [(Phase::Prompt, 5), (Phase::Decode, 2), (Phase::Decode, 1), (Phase::Decode, 1), (Phase::Idle, 0)];
    assert_eq!(rows, expected);
    let mut next = 0;
    for step in &timeline.steps {
        assert_eq!(step.runs.start, next, "each run is of one step");
        next = step.runs.end;
        let passed: HashSet<usize> = timeline.runs_of(step).iter().filter_map(|run| run.layer).collect();
        assert_eq!(passed.len(), if step.phase == Phase::Idle { 0 } else { layers });
    }
    assert_eq!(next, timeline.runs.len());
    for run in &timeline.runs {
        let call = &timeline.calls[run.call];
        assert!(call.start <= run.start && run.start + run.time <= call.start + call.time, "{run:?} in {call:?}");
        assert_eq!(call.budget, Budget::Pieces(2));
    }
    assert_eq!(timeline.calls.last().and_then(|call| call.progress), Some(Progress::Idle));
}

#[test]
fn a_trace_names_steps_layers_and_sequences() {
    let (_, timeline, layers) = some_timeline();
    let trace: Value = serde_json::from_str(&chrome_trace(&timeline)).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let tracks: Vec<&Value> =
        events.iter().filter(|event| event["name"] == "thread_name").map(|event| &event["args"]["name"]).collect();
    assert_eq!(tracks, ["calls of advance", "steps", "layers", "systems"]);
    let on = |track: u64| events.iter().filter(move |event| event["ph"] == "X" && event["tid"] == track);
    assert_eq!(on(1).count(), timeline.calls.len());
    assert_eq!(on(4).count(), timeline.runs.len());
    let step = on(2).next().expect("a step");
    assert_eq!((&step["args"]["phase"], &step["args"]["rows"]), (&"prompt".into(), &5.into()));
    assert_eq!(step["args"]["sequences"][0]["sequence"], "</script><b>Alice & Bob</b>");
    let named: HashSet<&str> = on(3).filter_map(|event| event["name"].as_str()).collect();
    let expected: HashSet<String> =
        (0..layers).map(|layer| format!("layer {layer}")).chain(["begin".to_owned(), "end".to_owned()]).collect();
    assert_eq!(named, expected.iter().map(|name| &**name).collect());
    for mlp in on(4).filter(|event| event["name"] == "run_mlp") {
        let args = &mlp["args"];
        assert!(args["layer"].is_u64() && args["step"].is_u64() && args["rows"].is_u64(), "{mlp}");
        assert!(args["sequences"].as_str().is_some_and(|names| names.contains("Alice & Bob")));
    }
}

#[test]
fn a_page_needs_nothing_else_and_has_no_name_as_markup() {
    let (world, timeline, _) = some_timeline();
    let facts = [("model", "<img src=x onerror=alert(1)>".to_owned())];
    let page = html_page(world.resource::<Profile>(), &timeline, &facts, 1e10);
    for outside in ["https:", "src=\"", "<link", "@import", "url(", "fetch(", "</script><b>", "<img", "Alice & Bob"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The one address is a namespace's name.
    assert_eq!(page.matches("http://").count(), page.matches("\"http://www.w3.org/2000/svg\"").count());
    assert_eq!(page.matches("</script>").count(), 2, "the data's and the script's");
    let data = page.split("id=\"data\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["facts"][0][1], "<img src=x onerror=alert(1)>");
    assert_eq!(data["steps"][0]["sequences"][0][0], "</script><b>Alice & Bob</b>");
    let phases: Vec<&Value> = data["phases"].as_array().expect("phases").iter().map(|phase| &phase["name"]).collect();
    assert_eq!(phases, ["prompt", "decode", "idle"]);
    assert_eq!(data["calls"].as_array().map(Vec::len), Some(timeline.calls.len()));
}

#[test]
fn a_page_of_a_long_run_keeps_a_bounded_number_of_steps_and_says_so() {
    let mut world = profiled(true);
    for _ in 0..6 {
        generate(&mut world, &[1, 2, 3], 60);
    }
    let timeline = world.resource_mut::<Profile>().take_timeline();
    let page = html_page(world.resource::<Profile>(), &timeline, &[], 1e10);
    let data = page.split("id=\"data\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    let shown: Vec<u64> =
        data["steps"].as_array().expect("steps").iter().filter_map(|step| step["number"].as_u64()).collect();
    assert!(shown.len() < 360 && shown.is_sorted(), "{} of 360", shown.len());
    assert_eq!(shown.len() as u64 + data["steps_left_out"].as_u64().expect("a number"), 360);
}
