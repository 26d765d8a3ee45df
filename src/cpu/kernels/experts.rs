//! What a mixture of experts does beside products (`Qwen3_5MoeSparseMoeBlock` in transformers' models/qwen3_5_moe).
//!
//! 1. `p = softmax(logits)` over all experts, largest logit subtracted.
//! 2. The experts with the largest logits are picked; of equals the first, and what is no number last.
//! 3. Their `p` are divided by their sum, if that is asked for.
//! 4. `out = out + (Σ p · y)` over the picked experts, from the first to the last, `y` being what each makes of the row,
//!    and after them `sigmoid(gate) · y` of the expert that all rows go through, if there is one.
//!
//! A row's sum has the same order whatever rows its experts are computed with.

use super::exp::{exp, sigmoid};
use super::isa::Isa;
use super::simd::{LANES, per_isa};
use super::split;
use crate::tally;

/// An expert that a row goes through, and what its result is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pick {
    /// Which.
    pub expert: u32,
    /// Its share.
    pub weight: f32,
}

/// Picks `per_row` experts for each row of `logits`, `[rows, experts]`, in their order: `picks` becomes `[rows, per_row]`.
///
/// # Panics
/// If there are not so many experts, or `logits` are not whole rows.
pub fn pick_experts(logits: &[f32], experts: usize, per_row: usize, normalise: bool, picks: &mut Vec<Pick>) {
    assert!(per_row <= experts && experts > 0 && logits.len().is_multiple_of(experts), "{per_row} of {experts}");
    let rows = logits.len() / experts;
    tally::add(size_of_val(logits), 20 * logits.len());
    picks.clear();
    picks.resize(rows * per_row, Pick::default());
    split::costly_rows(picks, per_row.max(1), 20 * experts / per_row.max(1), |first, picks| {
        let logits = logits[first * experts..].chunks_exact(experts);
        for (logits, picks) in logits.zip(picks.chunks_exact_mut(per_row.max(1))) {
            pick(logits, normalise, picks);
        }
    });
}

fn pick(logits: &[f32], normalise: bool, picks: &mut [Pick]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|&logit| exp(logit - largest)).sum();
    // What is no number comes behind all that are.
    let rank = |expert: u32| {
        let logit = logits[expert as usize];
        if logit.is_nan() { f32::NEG_INFINITY } else { logit }
    };
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let by_rank = |a: &u32, b: &u32| rank(*b).total_cmp(&rank(*a)).then(a.cmp(b));
    if picks.len() < order.len() {
        order.select_nth_unstable_by(picks.len(), by_rank);
        order.truncate(picks.len());
    }
    order.sort_unstable();
    for (pick, expert) in picks.iter_mut().zip(order) {
        *pick = Pick { expert, weight: exp(logits[expert as usize] - largest) / sum };
    }
    if normalise {
        let sum: f32 = picks.iter().map(|pick| pick.weight).sum();
        picks.iter_mut().for_each(|pick| pick.weight /= sum);
    }
}

/// Copies rows of `from`, `[_, width]`, to `to`, in the order of `rows`.
///
/// # Panics
/// If there are no such rows, or `to` is not as long.
pub fn gather_rows(from: &[f32], width: usize, rows: &[u32], to: &mut [f32]) {
    assert_eq!(to.len(), rows.len() * width);
    tally::add(2 * size_of_val(to), 0);
    split::rows(to, width, |first, to| {
        for (to, &row) in to.chunks_exact_mut(width).zip(&rows[first..]) {
            to.copy_from_slice(&from[row as usize * width..][..width]);
        }
    });
}

/// What every row goes through beside the experts that are picked for it.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    /// The logit of its share, one of each row.
    pub gates: &'a [f32],
    /// What it makes of them, `[rows, width]`.
    pub made: &'a [f32],
}

/// What the picked experts made of the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mixed<'a> {
    /// Of each row, as many, `[rows, _]`.
    pub picks: &'a [Pick],
    /// Of each pick, its row in `made`.
    pub places: &'a [u32],
    /// `[picks, width]`
    pub made: &'a [f32],
    /// What is added to them.
    pub shared: Option<Shared<'a>>,
}

/// Adds to each row of `out`, `[rows, width]`, what its experts made.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn add_experts(isa: Isa, out: &mut [f32], width: usize, mixed: Mixed<'_>) {
    assert!(width > 0 && out.len().is_multiple_of(width));
    let rows = out.len() / width;
    let Mixed { picks, places, made, shared } = mixed;
    assert!(
        picks.len().is_multiple_of(rows.max(1)) && places.len() == picks.len() && made.len() == picks.len() * width
    );
    assert!(shared.is_none_or(|shared| shared.gates.len() == rows && shared.made.len() == out.len()));
    let per_row = picks.len() / rows.max(1);
    tally::add(size_of_val(made) + 2 * size_of_val(out), 2 * made.len());
    split::costly_rows(out, width, 1 + per_row, |first, out| {
        for (row, out) in (first..).zip(out.chunks_exact_mut(width)) {
            let own = row * per_row..(row + 1) * per_row;
            let shared = shared.map(|Shared { gates, made }| (sigmoid(gates[row]), &made[row * width..][..width]));
            add_row(isa, out, &picks[own.clone()], &places[own], made, shared);
        }
    });
}

per_isa! {
    fn add_row(
        _simd,
        out: &mut [f32],
        picks: &[Pick],
        places: &[u32],
        made: &[f32],
        shared: Option<(f32, &[f32])>,
    ) {
        let width = out.len();
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let start = index * LANES;
            let mut sums = [0.0; LANES];
            let sums = &mut sums[..out.len()];
            let all = picks.iter().zip(places).map(|(pick, &place)| (pick.weight, &made[place as usize * width..][..width]));
            for (weight, made) in all.chain(shared) {
                for (sum, made) in sums.iter_mut().zip(&made[start..]) {
                    *sum += weight * made;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out += *sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    fn picked(logits: &[f32], experts: usize, per_row: usize, normalise: bool) -> Vec<Pick> {
        let mut picks = Vec::new();
        pick_experts(logits, experts, per_row, normalise, &mut picks);
        picks
    }

    proptest! {
        #[test]
        fn the_likeliest_experts_are_picked(experts in 1..40_usize, rows in 0..5_usize, share: prop::sample::Index, normalise: bool, seed: u64) {
            let per_row = 1 + share.index(experts);
            let logits: Vec<f32> = noise(seed, rows * experts).iter().map(|x| 8.0 * x).collect();
            let picks = picked(&logits, experts, per_row, normalise);
            prop_assert_eq!(picks.len(), rows * per_row);
            for (logits, picks) in logits.chunks(experts).zip(picks.chunks(per_row)) {
                let mut order: Vec<usize> = (0..experts).collect();
                order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
                order.truncate(per_row);
                order.sort_unstable();
                let found: Vec<usize> = picks.iter().map(|pick| pick.expert as usize).collect();
                prop_assert_eq!(&found, &order);
                let all: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
                let of = |expert: usize| f64::from(logits[expert]).exp() / all;
                let sum = if normalise { order.iter().map(|&expert| of(expert)).sum() } else { 1.0 };
                let exact: Vec<f64> = order.iter().map(|&expert| of(expert) / sum).collect();
                let weights: Vec<f32> = picks.iter().map(|pick| pick.weight).collect();
                assert_close(&weights, &exact, 2e-6);
            }
        }

        #[test]
        fn shares_are_added_alike_on_every_isa(rows in 1..6_usize, per_row in 0..5_usize, width in 1..70_usize, has_shared: bool, seed: u64) {
            let made = noise(seed, rows * per_row * width);
            let places: Vec<u32> = (0..(rows * per_row) as u32).rev().collect();
            let picks: Vec<Pick> = noise(seed ^ 1, rows * per_row).into_iter().map(|weight| Pick { expert: 0, weight }).collect();
            let (gates, through_all) = (noise(seed ^ 2, rows), noise(seed ^ 3, rows * width));
            let before = noise(seed ^ 4, rows * width);
            let shared = has_shared.then_some(Shared { gates: &gates, made: &through_all });
            let exact: Vec<f64> = before.iter().enumerate().map(|(index, &before)| {
                let (row, column) = (index / width, index % width);
                let of = |pick: usize| f64::from(picks[pick].weight) * f64::from(made[places[pick] as usize * width + column]);
                let share = 1.0 / (1.0 + (-f64::from(gates[row])).exp()) * f64::from(through_all[index]);
                f64::from(before) + (row * per_row..(row + 1) * per_row).map(of).sum::<f64>() + if has_shared { share } else { 0.0 }
            }).collect();
            let added = |isa| {
                let mut out = before.clone();
                add_experts(isa, &mut out, width, Mixed { picks: &picks, places: &places, made: &made, shared });
                out
            };
            let scalar = added(Isa::SCALAR);
            assert_close(&scalar, &exact, 2e-6);
            for isa in Isa::available() {
                assert_same_bits(&added(isa), &scalar);
            }
        }
    }

    #[test]
    fn of_equals_the_first_are_picked_and_what_is_no_number_last() {
        let experts = |logits: &[f32], count| -> Vec<u32> {
            picked(logits, logits.len(), count, true).iter().map(|pick| pick.expert).collect()
        };
        assert_eq!(experts(&[1.0, 2.0, 2.0, 2.0, 0.0], 2), [1, 2]);
        assert_eq!(experts(&[f32::NAN, 1.0, -3.0, f32::NAN], 3), [0, 1, 2]);
        assert_eq!(experts(&[f32::NAN; 4], 2), [0, 1]);
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, experts, width) = (300, 64, 256);
        let logits = noise(1, rows * experts);
        let from = noise(2, rows * width);
        let all = |threads| {
            on_threads(threads, || {
                let picks = picked(&logits, experts, 4, true);
                let order: Vec<u32> = (0..4 * rows as u32).map(|pick| pick * 7 % rows as u32).collect();
                let mut made = vec![0.0; order.len() * width];
                gather_rows(&from, width, &order, &mut made);
                let mut out = vec![0.0; rows * width];
                let places: Vec<u32> = (0..4 * rows as u32).collect();
                let mixed = Mixed { picks: &picks, places: &places, made: &made, shared: None };
                add_experts(Isa::widest(), &mut out, width, mixed);
                (out, picks, made)
            })
        };
        let one = all(1);
        assert_eq!(&one.2[width..2 * width], &from[7 * width..8 * width]);
        assert_eq!(all(3), one);
    }
}
