//! How a sequence picks its next token from the logits: settings, random state, and the choice itself.
//!
//! 1. Repetition, presence and frequency penalties change the logits of tokens already seen.
//! 2. At temperature 0 the largest logit wins. Otherwise logits are divided by the temperature.
//! 3. top-k keeps the k largest; top-p the fewest whose probabilities reach p; min-p those at least p times as likely
//!    as the likeliest. In this order, as transformers' logits processors are.
//! 4. One random number in [0, 1) picks among what is left.

use std::collections::HashMap;

use bevy_ecs::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Settings of a [`Sampler`]. The default is greedy: the largest logit, no penalties.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep this many candidates; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest candidates whose probabilities sum to this, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Keep candidates at least this times as likely as the likeliest, in [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Positive logits of tokens in the prompt or the new text are divided by this, negative ones multiplied
    /// (Keskar et al., "CTRL", 2019); 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of a token that is in the new text.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for each time it is in the new text.
    pub frequency_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} is {found}: expected {expected}")]
pub struct InvalidSampling {
    /// The field of [`Sampling`].
    pub name: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: f32,
}

impl Sampling {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), InvalidSampling> {
        let check = |name, found: f32, expected, ok: bool| {
            if ok && found.is_finite() { Ok(()) } else { Err(InvalidSampling { name, expected, found }) }
        };
        check("temperature", self.temperature, "a number of at least 0", self.temperature >= 0.0)?;
        check("top_p", self.top_p, "a number above 0 and at most 1", self.top_p > 0.0 && self.top_p <= 1.0)?;
        check("min_p", self.min_p, "a number from 0 to 1", (0.0..=1.0).contains(&self.min_p))?;
        let repetition = self.repetition_penalty;
        check("repetition_penalty", repetition, "a number above 0", repetition > 0.0)?;
        check("presence_penalty", self.presence_penalty, "a finite number", true)?;
        check("frequency_penalty", self.frequency_penalty, "a finite number", true)
    }

    fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}

/// Picks tokens for one sequence. The same settings, seed and logits give the same tokens.
#[derive(Component, Clone, Debug)]
pub struct Sampler {
    settings: Sampling,
    random: ChaCha8Rng,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { settings: Sampling::default(), random: ChaCha8Rng::seed_from_u64(0) }
    }
}

/// A token that may be picked, with its weight.
type Candidate = (u32, f32);

/// Logits this many temperatures below the largest are passed over: e⁻³⁰ a piece, a whole vocabulary of them is less
/// than 10⁻⁷ of the probability, and most of a vocabulary is down there.
const NEGLIGIBLE: f32 = 30.0;

impl Sampler {
    /// A sampler with `settings` whose random numbers come from `seed`.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn new(settings: Sampling, seed: u64) -> Result<Self, InvalidSampling> {
        settings.validate()?;
        Ok(Self { settings, random: ChaCha8Rng::seed_from_u64(seed) })
    }

    /// Picks a token from `logits` (`[vocab_size]`), given the tokens before it. `None` if the largest logit is not
    /// finite, or any is NaN.
    pub fn pick(&mut self, logits: &[f32], prompt: &[u32], generated: &[u32]) -> Option<u32> {
        if !self.settings.has_penalties() && self.settings.temperature == 0.0 {
            return argmax(logits);
        }
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, prompt, generated);
        let best = argmax(&logits)?;
        if self.settings.temperature == 0.0 {
            return Some(best);
        }
        let candidates = self.candidates(&logits, logits[best as usize]);
        self.draw(&candidates)
    }

    fn penalise(&self, logits: &mut [f32], prompt: &[u32], generated: &[u32]) {
        if !self.settings.has_penalties() {
            return;
        }
        let mut counts: HashMap<u32, u32> = prompt.iter().map(|&id| (id, 0)).collect();
        for &id in generated {
            *counts.entry(id).or_default() += 1;
        }
        let settings = &self.settings;
        for (id, count) in counts {
            let Some(logit) = logits.get_mut(id as usize) else { continue };
            *logit =
                if *logit > 0.0 { *logit / settings.repetition_penalty } else { *logit * settings.repetition_penalty };
            if count > 0 {
                *logit -= settings.presence_penalty + settings.frequency_penalty * count as f32;
            }
        }
    }

    /// The candidates that survive top-k, top-p and min-p with their weights, the likeliest having 1.
    fn candidates(&self, logits: &[f32], largest: f32) -> Vec<Candidate> {
        let settings = &self.settings;
        let likely = largest - NEGLIGIBLE * settings.temperature;
        let mut kept: Vec<Candidate> = logits
            .iter()
            .zip(0..)
            .filter(|&(&logit, _)| logit >= likely)
            .map(|(&logit, id)| (id, ((logit - largest) / settings.temperature).exp()))
            .collect();
        if settings.top_k > 0 && settings.top_k < kept.len() {
            kept.select_nth_unstable_by(settings.top_k - 1, likelier);
            kept.truncate(settings.top_k);
        }
        if settings.top_p < 1.0 {
            keep_nucleus(&mut kept, settings.top_p);
        }
        if settings.min_p > 0.0 {
            kept.retain(|&(_, weight)| weight >= settings.min_p);
        }
        // top-k leaves its candidates in no particular order; the draw must not depend on that.
        kept.sort_unstable_by_key(|&(id, _)| id);
        kept
    }

    fn draw(&mut self, candidates: &[Candidate]) -> Option<u32> {
        let total: f64 = candidates.iter().map(|&(_, weight)| f64::from(weight)).sum();
        let unit = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = unit * total;
        for &(id, weight) in candidates {
            left -= f64::from(weight);
            if left < 0.0 {
                return Some(id);
            }
        }
        // Rounding can leave a hair of `left` after the last one.
        candidates.iter().rev().find(|&&(_, weight)| weight > 0.0).map(|&(id, _)| id)
    }
}

/// The first of the largest logits, if it is finite and none is NaN.
fn argmax(logits: &[f32]) -> Option<u32> {
    /// Short enough to be looked through again for the place of the largest.
    const PART: usize = 1024;
    let mut best = (f32::NEG_INFINITY, 0);
    for (index, part) in logits.chunks(PART).enumerate() {
        let largest = largest(part)?;
        if largest > best.0 {
            best = (largest, index * PART);
        }
    }
    let (largest, start) = best;
    let offset = logits[start..].iter().position(|&logit| logit == largest)?;
    if largest.is_finite() { u32::try_from(start + offset).ok() } else { None }
}

/// The largest logit, `None` if one is not a number. In lanes, so that a vocabulary of 248 320 takes the vector unit and
/// not a third of a millisecond.
fn largest(logits: &[f32]) -> Option<f32> {
    let mut largest = [f32::NEG_INFINITY; 16];
    let mut nan = [0u32; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for lanes in whole {
        for i in 0..16 {
            largest[i] = if lanes[i] > largest[i] { lanes[i] } else { largest[i] };
            nan[i] |= u32::from(lanes[i].is_nan());
        }
    }
    let found = rest.iter().chain(&largest).fold(f32::NEG_INFINITY, |found, &logit| found.max(logit));
    (nan == [0; 16] && !rest.iter().any(|logit| logit.is_nan())).then_some(found)
}

/// Likelier first, then the smaller id: a total order, so that selection never depends on the input's order.
fn likelier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the fewest likeliest candidates whose weights reach `top_p` of the sum.
///
/// Sorting a vocabulary of 248 320 takes milliseconds, and the nucleus is nearly always small: a prefix that grows by
/// eight is selected and sorted until it reaches.
fn keep_nucleus(kept: &mut Vec<Candidate>, top_p: f32) {
    let total: f64 = kept.iter().map(|&(_, weight)| f64::from(weight)).sum();
    let wanted = total * f64::from(top_p);
    let mut prefix = 64;
    loop {
        if prefix < kept.len() {
            kept.select_nth_unstable_by(prefix - 1, likelier);
        } else {
            prefix = kept.len();
        }
        kept[..prefix].sort_unstable_by(likelier);
        let mut sum = 0.0;
        let reached = kept[..prefix].iter().position(|&(_, weight)| {
            sum += f64::from(weight);
            sum >= wanted
        });
        if let Some(last) = reached {
            kept.truncate(last + 1);
            return;
        }
        if prefix == kept.len() {
            return;
        }
        prefix *= 8;
    }
}
