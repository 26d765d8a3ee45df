//! What each sampling setting promises, on small made-up logits.

use loquent::prelude::*;
use proptest::prelude::*;

const LOGITS: [f32; 5] = [1.0, 3.0, -2.0, 2.5, 0.0];

fn sampler(settings: Sampling, seed: u64) -> Sampler {
    Sampler::new(settings, seed).expect("valid settings")
}

/// How often each of the five tokens is picked in many draws.
fn shares(settings: Sampling) -> [f64; 5] {
    const DRAWS: usize = 20_000;
    let mut sampler = sampler(settings, 7);
    let mut counts = [0usize; 5];
    for _ in 0..DRAWS {
        counts[sampler.pick(&LOGITS, &[], &[]).expect("finite logits") as usize] += 1;
    }
    counts.map(|count| count as f64 / DRAWS as f64)
}

fn softmax(temperature: f64) -> [f64; 5] {
    let weights = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

#[test]
fn greedy_takes_the_first_of_the_largest_logits() {
    let mut greedy = Sampler::default();
    assert_eq!(greedy.pick(&LOGITS, &[], &[]), Some(1));
    assert_eq!(greedy.pick(&[0.0, 4.0, 4.0], &[], &[]), Some(1));
    assert_eq!(greedy.pick(&[f32::NEG_INFINITY, -4.0], &[], &[]), Some(1));
}

#[test]
fn logits_that_are_not_finite_pick_nothing() {
    let mut greedy = Sampler::default();
    assert_eq!(greedy.pick(&[0.0, f32::NAN], &[], &[]), None);
    assert_eq!(greedy.pick(&[0.0, f32::INFINITY], &[], &[]), None);
    assert_eq!(greedy.pick(&[f32::NEG_INFINITY; 3], &[], &[]), None);
    assert_eq!(greedy.pick(&[], &[], &[]), None);
}

#[test]
fn temperature_draws_from_the_softmax_of_the_scaled_logits() {
    for temperature in [0.5, 1.0, 2.0] {
        let found = shares(Sampling { temperature, ..Sampling::default() });
        for (found, expected) in found.into_iter().zip(softmax(f64::from(temperature))) {
            // Five standard deviations of a share in 20 000 draws are at most 0.018.
            assert!((found - expected).abs() < 0.018, "{found} is not {expected} at {temperature}");
        }
    }
}

#[test]
fn top_k_keeps_the_k_largest() {
    let found = shares(Sampling { temperature: 1.0, top_k: 2, ..Sampling::default() });
    assert_eq!([found[0], found[2], found[4]], [0.0; 3]);
    assert!(found[1] > found[3] && found[3] > 0.3);
}

#[test]
fn top_p_keeps_the_fewest_tokens_that_reach_p() {
    let all = softmax(1.0);
    let two = (all[1] + all[3]) as f32;
    let just_under = shares(Sampling { temperature: 1.0, top_p: two - 0.01, ..Sampling::default() });
    assert_eq!([just_under[0], just_under[2], just_under[4]], [0.0; 3]);
    let just_over = shares(Sampling { temperature: 1.0, top_p: two + 0.01, ..Sampling::default() });
    assert!(just_over[0] > 0.0 && just_over[2] == 0.0 && just_over[4] == 0.0);
    let tiny = shares(Sampling { temperature: 1.0, top_p: 1e-6, ..Sampling::default() });
    assert_eq!(tiny[1], 1.0, "the likeliest token always stays");
    let none = shares(Sampling { temperature: 1.0, top_p: 0.0, ..Sampling::default() });
    assert_eq!(none[1], 1.0, "the likeliest token always stays");
}

#[test]
fn min_p_keeps_tokens_near_the_likeliest() {
    // Token 3 is exp(-0.5) = 0.61 times as likely as token 1, token 0 exp(-2) = 0.14 times.
    let found = shares(Sampling { temperature: 1.0, min_p: 0.5, ..Sampling::default() });
    assert!(found[3] > 0.0 && found[0] == 0.0);
    let found = shares(Sampling { temperature: 1.0, min_p: 0.1, ..Sampling::default() });
    assert!(found[0] > 0.0 && found[4] == 0.0);
}

#[test]
fn repetition_penalty_lowers_what_prompt_or_new_text_holds() {
    let mut sampler = sampler(Sampling { repetition_penalty: 2.0, ..Sampling::default() }, 0);
    assert_eq!(sampler.pick(&LOGITS, &[1], &[]), Some(3), "3.0 / 2 is below 2.5");
    assert_eq!(sampler.pick(&LOGITS, &[], &[1]), Some(3));
    assert_eq!(sampler.pick(&[-1.0, -1.5], &[0], &[]), Some(1), "-1 · 2 is below -1.5");
}

#[test]
fn presence_and_frequency_penalties_look_at_the_new_text_only() {
    let mut presence = sampler(Sampling { presence_penalty: 0.6, ..Sampling::default() }, 0);
    assert_eq!(presence.pick(&LOGITS, &[1, 1, 1], &[]), Some(1));
    assert_eq!(presence.pick(&LOGITS, &[], &[1]), Some(3));
    let mut frequency = sampler(Sampling { frequency_penalty: 0.3, ..Sampling::default() }, 0);
    assert_eq!(frequency.pick(&LOGITS, &[1, 1, 1], &[1]), Some(1));
    assert_eq!(frequency.pick(&LOGITS, &[], &[1, 1]), Some(3));
}

/// The extremes of what each penalty may be.
fn extreme_penalties() -> Vec<Sampling> {
    let mut all = Vec::new();
    for extreme in [1e-45, 1e-38, 1e38, f32::MAX] {
        all.push(Sampling { repetition_penalty: extreme, ..Sampling::default() });
        for extreme in [extreme, -extreme] {
            all.push(Sampling { presence_penalty: extreme, ..Sampling::default() });
            all.push(Sampling { frequency_penalty: extreme, ..Sampling::default() });
            all.push(Sampling { repetition_penalty: 1e-38, frequency_penalty: extreme, ..Sampling::default() });
        }
    }
    all
}

#[test]
fn no_penalty_and_no_temperature_makes_finite_logits_pick_nothing() {
    for settings in extreme_penalties() {
        for temperature in [0.0, 1e-45, 1e-38, 1.0, 1e38, f32::MAX] {
            for (prompt, generated) in
                [(&[1, 2][..], &[][..]), (&[], &[1, 1, 2, 3]), (&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4, 4])]
            {
                let settings = Sampling { temperature, ..settings.clone() };
                let pick = sampler(settings.clone(), 1).pick(&LOGITS, prompt, generated);
                assert!(pick.is_some_and(|id| id < 5), "{settings:?} after {prompt:?} and {generated:?}: {pick:?}");
            }
        }
    }
}

#[test]
fn a_penalty_that_overflows_still_raises_or_lowers() {
    let pick = |settings| sampler(settings, 0).pick(&LOGITS, &[], &[1, 1]);
    assert_eq!(pick(Sampling { repetition_penalty: 1e-38, ..Sampling::default() }), Some(1));
    assert_eq!(pick(Sampling { repetition_penalty: f32::MAX, ..Sampling::default() }), Some(3));
    assert_eq!(pick(Sampling { frequency_penalty: f32::MAX, ..Sampling::default() }), Some(3));
    assert_eq!(
        sampler(Sampling { frequency_penalty: f32::MIN, ..Sampling::default() }, 0).pick(&LOGITS, &[], &[2, 2]),
        Some(2)
    );
}

#[test]
fn no_penalty_hides_logits_that_are_not_finite() {
    for settings in extreme_penalties() {
        let pick = |logits: &[f32]| sampler(settings.clone(), 0).pick(logits, &[], &[0, 1, 1]);
        assert_eq!(pick(&[1.0, f32::INFINITY]), None, "{settings:?}");
        assert_eq!(pick(&[f32::NAN, 1.0]), None, "{settings:?}");
        assert_eq!(pick(&[f32::NEG_INFINITY; 2]), None, "{settings:?}");
    }
}

#[test]
fn a_token_that_is_masked_stays_so_under_every_penalty_and_temperature() {
    for settings in extreme_penalties() {
        for temperature in [0.0, 1e-38, 1.0, f32::MAX] {
            let settings = Sampling { temperature, ..settings.clone() };
            let pick = sampler(settings.clone(), 3).pick(&[f32::NEG_INFINITY, 0.5], &[], &[0, 0, 1]);
            assert_eq!(pick, Some(1), "{settings:?}");
        }
    }
}

#[test]
fn a_setting_out_of_range_is_refused_by_name() {
    let cases = [
        (
            Sampling { temperature: -0.1, ..Sampling::default() },
            "temperature is -0.1: expected a finite number, at least 0",
        ),
        (Sampling { temperature: f32::NAN, ..Sampling::default() }, "temperature is NaN"),
        (Sampling { top_p: -0.1, ..Sampling::default() }, "top_p is -0.1: expected a number from 0 to 1"),
        (Sampling { top_p: 1.1, ..Sampling::default() }, "top_p is 1.1"),
        (Sampling { min_p: -1.0, ..Sampling::default() }, "min_p is -1: expected a number from 0 to 1"),
        (Sampling { repetition_penalty: 0.0, ..Sampling::default() }, "repetition_penalty is 0"),
        (Sampling { presence_penalty: f32::INFINITY, ..Sampling::default() }, "presence_penalty is inf"),
        (Sampling { frequency_penalty: f32::NAN, ..Sampling::default() }, "frequency_penalty is NaN"),
    ];
    for (settings, message) in cases {
        let error = Sampler::new(settings, 0).expect_err(message).to_string();
        assert!(error.contains(message), "{error} does not say {message}");
    }
}

proptest! {
    #[test]
    fn the_same_seed_picks_the_same_tokens_and_only_ones_that_were_kept(
        logits in prop::collection::vec(-20f32..20.0, 1..300),
        temperature in 0.05f32..3.0,
        top_k in 0usize..50,
        top_p in 0.01f32..=1.0,
        seed: u64,
    ) {
        let settings = Sampling { temperature, top_k, top_p, ..Sampling::default() };
        let (mut one, mut two) = (sampler(settings.clone(), seed), sampler(settings, seed));
        for _ in 0..5 {
            let pick = one.pick(&logits, &[], &[]).expect("finite logits");
            prop_assert_eq!(two.pick(&logits, &[], &[]), Some(pick));
            let larger = logits.iter().filter(|&&logit| logit > logits[pick as usize]).count();
            prop_assert!(top_k == 0 || larger < top_k);
        }
    }
}
