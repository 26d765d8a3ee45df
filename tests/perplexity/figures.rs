//! `tests/fixtures/perplexity.py` froze what transformers finds.

use std::ops::ControlFlow;
use std::path::Path;

use bevy_ecs::prelude::*;
use loquent::cpu::{Cpu, Isa, Numerics};
use loquent::perplexity::{Estimate, Scorer, Windows};
use loquent::prelude::*;
use loquent::schedule::EndStep;
use loquent::world::activations::Logits;
use serde::Deserialize;

use crate::support::{generate, logits, run, some_prompt, spawn, take, world};
use crate::{UNTIED, UNTIED_VOCAB, compare, measure, scorer};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    comparison: Pair,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    ids: Vec<u32>,
    window: usize,
    stride: usize,
    tokens: usize,
    nll: Expected,
}

#[derive(Deserialize)]
struct Pair {
    first: String,
    second: String,
    ids: Vec<u32>,
    window: usize,
    stride: usize,
    difference: Expected,
    divergence: Expected,
    same_likeliest: Expected,
}

#[derive(Deserialize)]
struct Expected {
    value: f64,
    standard_error: f64,
}

impl Expected {
    #[track_caller]
    fn assert_is(&self, found: Estimate, what: &str) {
        let error = found.standard_error.expect("an error");
        for (found, expected) in [(found.value, self.value), (error, self.standard_error)] {
            assert!((found / expected - 1.0).abs() < 1e-5, "{what}: {found} for {expected}");
        }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../fixtures/perplexity.json")).expect("perplexity.json")
}

#[test]
fn perplexity_is_that_of_transformers() {
    for Case { model, ids, window, stride, tokens, nll } in golden().cases {
        let found = measure(&mut scorer(&model), &ids, (window, stride)).unwrap();
        let what = format!("{model}, {window} every {stride}");
        assert_eq!(found.tokens, tokens, "{what}");
        nll.assert_is(found.nll, &what);
    }
}

#[test]
fn a_comparison_is_that_of_transformers() {
    let Pair { first, second, ids, window, stride, difference, divergence, same_likeliest } = golden().comparison;
    let found = compare(&mut scorer(&first), &mut scorer(&second), &ids, (window, stride)).unwrap();
    difference.assert_is(found.difference, "difference");
    divergence.assert_is(found.divergence, "divergence");
    same_likeliest.assert_is(found.same_likeliest, "same_likeliest");
    let alone = measure(&mut scorer(&second), &ids, (window, stride)).unwrap();
    assert_eq!(found.second, alone, "comparing changes nothing");
    assert_eq!(found.first, measure(&mut scorer(&first), &ids, (window, stride)).unwrap());
}

#[test]
fn the_figure_depends_neither_on_batches_nor_on_threads() {
    let text = some_prompt(300, UNTIED_VOCAB);
    for cut in [(512, 256), (150, 60), (20, 10), (2, 1)] {
        let expected = measure(&mut scorer(UNTIED), &text, cut).unwrap();
        for rows in [1, 7, 64, 100, 1000] {
            let mut model = scorer(UNTIED);
            model.world_mut().insert_resource(Limits { rows, ..Limits::default() });
            assert_eq!(measure(&mut model, &text, cut).unwrap(), expected, "{cut:?} in steps of {rows} rows");
        }
        for threads in [1, 3] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(UNTIED);
            let mut model = Scorer::new("", world(&folder, threads, Isa::widest(), Numerics::Exact));
            assert_eq!(measure(&mut model, &text, cut).unwrap(), expected, "{cut:?} on {threads} threads");
        }
    }
}

/// The negative log-likelihoods of the last tokens of `text`, as many as are asked for, by the logits before each.
fn by_logits(text: &[u32], last: usize) -> f64 {
    let model = &mut scorer(UNTIED);
    let nll = |end: usize| {
        let logits = logits(model.world_mut(), &text[..end], Budget::Step);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum.ln() - f64::from(logits[text[end] as usize])
    };
    (text.len() - last..text.len()).map(nll).sum()
}

#[test]
fn windows_end_where_they_should() {
    let text = some_prompt(41, UNTIED_VOCAB);
    for length in [2, 3, 39, 40, 41] {
        let text = &text[..length];
        let found = measure(&mut scorer(UNTIED), text, (40, 15)).unwrap();
        assert_eq!(found.tokens, length - 1);
        // One token more than a window is scored by a second one.
        let whole = length.min(40);
        let second = if length > 40 { by_logits(&text[15..], 1) } else { 0.0 };
        let expected = by_logits(&text[..whole], whole - 1) + second;
        let found = found.nll.value * found.tokens as f64;
        assert!((found - expected).abs() < 1e-4, "{length} tokens: {found} for {expected}");
    }
}

#[test]
fn a_model_is_no_different_from_itself() {
    let text = some_prompt(100, UNTIED_VOCAB);
    let found = compare(&mut scorer(UNTIED), &mut scorer(UNTIED), &text, (60, 30)).unwrap();
    assert_eq!((found.difference.value, found.difference.standard_error), (0.0, Some(0.0)));
    assert_eq!((found.same_likeliest.value, found.ratio().value), (1.0, 1.0));
    assert!(found.divergence.value.abs() < 1e-12, "{:?}", found.divergence);
    assert!(found.is_within(0.0));
}

/// The most rows of logits there were at once.
#[derive(Resource, Default)]
struct MostLogits(usize);

#[test]
fn there_are_never_more_than_64_rows_of_logits() {
    let mut model = scorer(UNTIED);
    let world = model.world_mut();
    world.init_resource::<MostLogits>();
    world.schedule_scope(EndStep, |_, schedule| {
        let watch = |logits: Res<Logits<Cpu>>, mut most: ResMut<MostLogits>| most.0 = most.0.max(logits.0.len());
        schedule.add_systems(watch.after(StepSystems::Head).before(StepSystems::Sample));
    });
    measure(&mut model, &some_prompt(400, UNTIED_VOCAB), (300, 150)).unwrap();
    assert_eq!(model.world().resource::<MostLogits>().0, 64);
}

#[test]
fn other_sequences_go_on_beside_it() {
    let text = some_prompt(200, UNTIED_VOCAB);
    let expected = measure(&mut scorer(UNTIED), &text, (50, 25)).unwrap();
    let mut model = scorer(UNTIED);
    let tokens = generate(model.world_mut(), &[1, 2, 3], 9);
    let other = spawn(model.world_mut(), &[1, 2, 3], 9);
    assert_eq!(measure(&mut model, &text, (50, 25)).unwrap(), expected);
    run(model.world_mut(), Budget::Step);
    assert_eq!(take(model.world_mut(), other), tokens);
}

#[test]
fn a_run_that_was_stopped_leaves_nothing_behind() {
    let text = some_prompt(300, UNTIED_VOCAB);
    let expected = measure(&mut scorer(UNTIED), &text, (100, 50)).unwrap();
    let mut model = scorer(UNTIED);
    for calls in 1..12 {
        let mut left = calls;
        let stopped = model.measure(&text, Windows::new(100, 50).unwrap(), |progress| {
            assert!(progress.scored <= progress.total && progress.total == 299);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(stopped.is_err());
        let world = model.world_mut();
        assert_eq!(world.query_filtered::<(), With<Prompt>>().iter(world).count(), 0);
        assert_eq!(measure(&mut model, &text, (100, 50)).unwrap(), expected, "after {calls} calls");
    }
}

#[test]
fn progress_ends_with_all_tokens() {
    let mut last = 0;
    let mut note = |progress: loquent::perplexity::PerplexityProgress| {
        assert!(progress.scored >= last && progress.total == 299);
        last = progress.scored;
        ControlFlow::Continue(())
    };
    let (text, windows) = (some_prompt(300, UNTIED_VOCAB), Windows::new(100, 50).unwrap());
    scorer(UNTIED).measure(&text, windows, &mut note).unwrap();
    assert_eq!(last, 299);
    last = 0;
    let mut note = |progress: loquent::perplexity::PerplexityProgress| {
        assert!(progress.scored >= last && progress.total == 299);
        last = progress.scored;
        ControlFlow::Continue(())
    };
    Scorer::compare(&mut scorer(UNTIED), &mut scorer(UNTIED), &text, windows, &mut note).unwrap();
    assert_eq!(last, 299);
}
