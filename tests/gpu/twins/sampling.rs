//! Tokens from logits, against the sampler of the host with the same random numbers.

use loquent::gpu::GpuContext;
use loquent::gpu::plan::stride;
use loquent::gpu::variant::Variant;
use loquent::sampling::{Random, Sampling, pick};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::table::Table;
use crate::device::context;
use crate::harness::{Dispatch, POISON, noise, poison};

/// A row of logits, how a token is picked from it, and the seed of chance.
#[derive(Clone, Debug)]
struct Case {
    settings: Sampling,
    logits: usize,
    seed: u64,
}

/// The number that the host draws first.
fn unit(seed: u64) -> f64 {
    (ChaCha8Rng::seed_from_u64(seed).next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Where candidates end in [0, 1], in exact arithmetic; `None` where a filter cuts so close to a token that single precision
/// may see it on the other side.
fn ends(settings: &Sampling, logits: &[f32]) -> Option<Vec<f64>> {
    /// Sums in single precision may be off by this.
    const CLOSE: f64 = 1e-5;
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weight = |logit: f32| ((f64::from(logit) - largest) / f64::from(settings.temperature)).exp();
    let mut kept: Vec<(usize, f64)> = logits.iter().copied().map(weight).enumerate().collect();
    kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    kept.retain(|&(_, weight)| weight > (-30.0_f64).exp());
    if settings.top_k > 0 {
        kept.truncate(settings.top_k);
    }
    if settings.top_p < 1.0 {
        let total: f64 = kept.iter().map(|&(_, weight)| weight).sum();
        let wanted = total * f64::from(settings.top_p);
        let mut sum = 0.0;
        let mut count = 0;
        while sum < wanted && count < kept.len() {
            sum += kept[count].1;
            count += 1;
            if (sum - wanted).abs() < CLOSE * total {
                return None;
            }
        }
        kept.truncate(count.max(1));
    }
    if settings.min_p > 0.0 {
        if kept.iter().any(|&(_, weight)| (weight / f64::from(settings.min_p) - 1.0).abs() < CLOSE) {
            return None;
        }
        kept.retain(|&(_, weight)| weight >= f64::from(settings.min_p));
    }
    kept.sort_by_key(|&(token, _)| token);
    let total: f64 = kept.iter().map(|&(_, weight)| weight).sum();
    let mut sum = 0.0;
    Some(
        kept.iter()
            .map(|&(_, weight)| {
                sum += weight / total;
                sum
            })
            .collect(),
    )
}

/// What a device picks, in both ways to run shaders.
fn picked(context: &GpuContext, rows: &[Vec<f32>], cases: &[Case]) -> [Vec<u32>; 2] {
    let vocab = rows[0].len();
    let stride = stride(vocab) + 32;
    let mut logits = Vec::new();
    for row in rows {
        logits.extend(row);
        logits.resize(logits.len() + stride - vocab, poison());
    }
    // Two picks belong to a group before.
    let mut table = Table { picks: vec![[POISON; 7]; 2], ..Table::default() };
    table.picks.extend(cases.iter().enumerate().map(|(index, case)| {
        let Sampling { temperature, top_k, top_p, min_p, .. } = case.settings;
        let random = unit(case.seed) as f32;
        let [temperature, top_p, min_p, random] = [temperature, top_p, min_p, random].map(f32::to_bits);
        [case.logits as u32, (cases.len() - index) as u32, temperature, top_k as u32, top_p, min_p, random]
    }));
    let params = [vocab as u32, stride as u32, 2];
    let dispatch = Dispatch::new(Variant::sample(), &params, [cases.len() as u32, 1, 1])
        .words("table", table.words())
        .floats("logits", &logits)
        .words("picks", vec![POISON; cases.len() + 2]);
    dispatch.run(context).map(|found| {
        let picks = found.words("picks");
        assert!(picks[0] == POISON && picks[cases.len() + 1] == POISON, "places of other picks");
        (0..cases.len()).map(|index| picks[cases.len() - index]).collect()
    })
}

/// Both pick the same, where chance does not fall so close to the end of a token that single precision may differ.
fn check(context: &GpuContext, rows: &[Vec<f32>], settings: &[Sampling], seed: u64) -> usize {
    let mut cases = Vec::new();
    for (logits, row) in rows.iter().enumerate() {
        for settings in settings {
            let greedy = settings.temperature == 0.0 || row.iter().any(|logit| !logit.is_finite());
            let ends = if greedy { Some(Vec::new()) } else { ends(settings, row) };
            let Some(ends) = ends else { continue };
            let is_clear = |seed: &u64| ends.iter().all(|end| *end > 1.0 - 1e-9 || (end - unit(*seed)).abs() > 1e-5);
            let seeds = (seed..seed + 40).filter(is_clear).take(if greedy { 1 } else { 4 });
            cases.extend(seeds.map(|seed| Case { settings: settings.clone(), logits, seed }));
        }
    }
    for found in picked(context, rows, &cases) {
        for (case, found) in cases.iter().zip(found) {
            let random = &mut Random::new(case.seed);
            let expected = pick(&case.settings, random, &rows[case.logits], &[], &[]);
            let vocab = rows[0].len();
            assert_eq!(found, expected.unwrap_or(u32::MAX), "of {vocab}: {case:?} at {}", unit(case.seed));
        }
    }
    cases.len()
}

fn all_settings() -> Vec<Sampling> {
    let plain = Sampling { temperature: 1.0, ..Sampling::default() };
    vec![
        Sampling::default(),
        plain.clone(),
        Sampling { temperature: 0.3, ..plain.clone() },
        Sampling { temperature: 2.5, ..plain.clone() },
        Sampling { top_k: 1, ..plain.clone() },
        Sampling { top_k: 7, ..plain.clone() },
        Sampling { top_k: 100_000, ..plain.clone() },
        Sampling { top_p: 0.0, ..plain.clone() },
        Sampling { top_p: 0.5, ..plain.clone() },
        Sampling { top_p: 0.93, ..plain.clone() },
        Sampling { min_p: 0.2, ..plain.clone() },
        Sampling { min_p: 1.0, ..plain.clone() },
        Sampling { top_k: 20, top_p: 0.8, ..plain.clone() },
        Sampling { top_k: 50, top_p: 0.93, min_p: 0.05, temperature: 0.7, ..plain.clone() },
        Sampling { top_p: 0.9, min_p: 0.1, ..plain },
    ]
}

fn bell(seed: u64, vocab: usize, scale: f32) -> Vec<f32> {
    noise(seed, vocab).iter().map(|x| scale * x).collect()
}

pub fn sample_picks(context: &GpuContext) {
    for vocab in [1, 2, 255, 256, 257, 5000] {
        let rows = vec![bell(1, vocab, 4.0), bell(2, vocab, 20.0), bell(3, vocab, 300.0)];
        let cases = check(context, &rows, &all_settings(), 5);
        assert!(cases > 60, "{cases} cases of {vocab} are clear");
    }
}

#[test]
fn a_whole_vocabulary_is_sampled_as_on_the_host() {
    let Some(context) = context() else { return };
    let plain = Sampling { temperature: 0.7, ..Sampling::default() };
    let settings = [plain.clone(), Sampling { top_k: 40, top_p: 0.9, min_p: 0.01, ..plain }];
    check(&context, &[bell(4, 248_320, 25.0)], &settings, 8);
}

#[test]
fn ties_go_to_the_first_tokens() {
    let Some(context) = context() else { return };
    for vocab in [1, 5, 256, 300, 5000] {
        let in_steps = |seed, scale| bell(seed, vocab, scale).iter().map(|x| x.round() / 2.0).collect::<Vec<f32>>();
        let rows = vec![in_steps(11, 6.0), in_steps(12, 2.0), vec![-3.25; vocab], vec![0.0; vocab]];
        check(&context, &rows, &all_settings(), 6);
    }
}

#[test]
fn what_is_no_finite_number_picks_nothing_unless_others_are_larger() {
    let Some(context) = context() else { return };
    for vocab in [1, 3, 256, 1000] {
        let with = |value: f32, at: usize| {
            let mut row = bell(13, vocab, 5.0);
            row[at] = value;
            row
        };
        let last = vocab - 1;
        let rows = vec![
            with(f32::NAN, 0),
            with(f32::NAN, last),
            with(-f32::NAN, vocab / 2),
            with(f32::INFINITY, last),
            with(f32::INFINITY, 0),
            with(f32::NEG_INFINITY, 0),
            with(f32::NEG_INFINITY, last),
            vec![f32::NEG_INFINITY; vocab],
            vec![f32::INFINITY; vocab],
            vec![f32::NAN; vocab],
            // What a constraint may leave: finite, and less than anything.
            vec![f32::MIN; vocab],
        ];
        // Filters leave these alone: with a logit of −∞, what is `ends` is left to chance.
        let settings = [Sampling::default(), Sampling { temperature: 1.0, top_k: 1, ..Sampling::default() }];
        check(&context, &rows, &settings, 7);
    }
}

#[test]
fn tokens_of_no_weight_are_never_picked() {
    let Some(context) = context() else { return };
    // So hot that the least candidate is −∞.
    let settings = Sampling { temperature: 2e38, ..Sampling::default() };
    let mut row = vec![f32::NEG_INFINITY; 40];
    row[3] = 1.0;
    row[20] = 2.0;
    let cases: Vec<Case> = (0..50).map(|seed| Case { settings: settings.clone(), logits: 0, seed }).collect();
    for found in picked(&context, &[row], &cases) {
        assert!(found.iter().all(|token| [3, 20].contains(token)), "{found:?}");
        assert!(found.contains(&3) && found.contains(&20), "{found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_settings_pick_as_the_host(
        vocab in 1..3000_usize, scale in 0.1..60.0_f32, step: bool, temperature in 0.05..3.0_f32, top_k in 0..80_usize,
        top_p in 0.0..1.2_f32, min_p in 0.0..0.6_f32, seed: u64,
    ) {
        if let Some(context) = context() {
            let mut row = bell(seed, vocab, scale);
            if step {
                row.iter_mut().for_each(|x| *x = x.round());
            }
            let min_p = (min_p - 0.2).max(0.0);
            let settings = Sampling { temperature, top_k, top_p: top_p.min(1.0), min_p, ..Sampling::default() };
            check(&context, &[row], &[settings], seed >> 1);
        }
    }
}
