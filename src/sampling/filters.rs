//! Which tokens may be picked: those that survive top-k, top-p and min-p, in this order, as transformers' logits
//! processors are.

#![forbid(unsafe_code)]

use super::settings::Sampling;

/// A token that may be picked, with its weight.
pub(super) type Candidate = (u32, f32);

/// Logits this many temperatures below the largest are passed over: e⁻³⁰ a piece, a whole vocabulary of them is less
/// than 10⁻⁷ of the probability, and most of a vocabulary is down there.
const NEGLIGIBLE: f32 = 30.0;

/// The candidates with their weights, the likeliest having 1.
pub(super) fn candidates(settings: &Sampling, logits: &[f32], largest: f32) -> Vec<Candidate> {
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
