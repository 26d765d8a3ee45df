//! Logits → a token.
//!
//! 1. Repetition, presence and frequency penalties change the logits of tokens already seen.
//! 2. At temperature 0 the largest logit wins. Otherwise logits are divided by the temperature.
//! 3. The filters keep the likeliest: top-k the k largest; top-p the fewest whose probabilities reach p; min-p those
//!    at least p times as likely as the likeliest.
//! 4. One random number in [0, 1) picks among what is left.

#![forbid(unsafe_code)]

mod argmax;
mod draw;
mod filters;
mod penalties;
mod settings;

pub use draw::Random;
pub use settings::{InvalidSampling, Sampling};

/// Picks a token from `logits` (`[vocab_size]`), given the tokens before it. `None` if the largest logit is not finite,
/// or any is NaN.
pub fn pick(
    settings: &Sampling,
    random: &mut Random,
    logits: &[f32],
    prompt: &[u32],
    generated: &[u32],
) -> Option<u32> {
    let penalised = settings.has_penalties().then(|| {
        let mut logits = logits.to_vec();
        penalties::penalise(settings, &mut logits, prompt, generated);
        logits
    });
    let logits = penalised.as_deref().unwrap_or(logits);
    let best = argmax::argmax(logits)?;
    if settings.temperature == 0.0 {
        return Some(best);
    }
    let candidates = filters::candidates(settings, logits, logits[best as usize]);
    draw::draw(random, &candidates)
}
