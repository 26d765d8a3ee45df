//! What a row of logits says of probabilities, without writing them out: `softmax(x)[i] = exp(x[i] - log_sum_exp(x))`.
//!
//! Exponentials are taken of differences to the largest logit, in `f32`; their sums over [`PART`] logits are added in
//! `f64`, so that a vocabulary of 248 320 loses nothing to one of 2 000.

use super::isa::Isa;
use super::simd::{LANES, per_isa, tree};

/// Logits whose exponentials are summed in `f32`: 64 to a lane.
const PART: usize = 64 * LANES;

/// The logarithm of a sum of exponentials, in two parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSumExp {
    /// The largest logit.
    pub largest: f32,
    /// The sum of `exp(x - largest)`. Not a number if a logit is not, or is infinite and positive.
    pub sum: f64,
}

impl LogSumExp {
    /// `ln(sum of exp(x))`.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.largest) + self.sum.ln()
    }
}

/// The logarithm of the sum of `exp(x)` over a row of logits. On the calling thread.
#[must_use]
pub fn log_sum_exp(isa: Isa, logits: &[f32]) -> LogSumExp {
    let mut found = LogSumExp { largest: f32::NEG_INFINITY, sum: 0.0 };
    sum_exponentials(isa, logits, &mut found);
    found
}

/// The Kullback-Leibler divergence of `softmax(q)` from `softmax(p)`, in nats: `sum of P (ln P - ln Q)`. On the calling
/// thread.
///
/// # Panics
/// Where the lengths differ.
#[must_use]
pub fn kl_divergence(isa: Isa, (p, of_p): (&[f32], LogSumExp), (q, of_q): (&[f32], LogSumExp)) -> f64 {
    assert_eq!(p.len(), q.len(), "two distributions over the same tokens");
    let mut weighted = 0.0;
    sum_differences(isa, p, q, of_p.largest, &mut weighted);
    weighted / of_p.sum - of_p.value() + of_q.value()
}

per_isa! {
    fn sum_exponentials(_simd, logits: &[f32], found: &mut LogSumExp) {
        let (whole, rest) = logits.as_chunks::<LANES>();
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for x in whole {
            for i in 0..LANES {
                lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
            }
        }
        let largest = rest.iter().fold(tree(&mut lanes, f32::max), |largest, &x| largest.max(x));
        let mut sum = 0.0;
        for part in logits.chunks(PART) {
            let (whole, rest) = part.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for x in whole {
                for i in 0..LANES {
                    lanes[i] += super::exp::exp(x[i] - largest);
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane += super::exp::exp(x - largest);
            }
            sum += f64::from(tree(&mut lanes, |a, b| a + b));
        }
        *found = LogSumExp { largest, sum };
    }
}

per_isa! {
    fn sum_differences(_simd, p: &[f32], q: &[f32], largest: f32, weighted: &mut f64) {
        for (p, q) in p.chunks(PART).zip(q.chunks(PART)) {
            let ((p, last_p), (q, last_q)) = (p.as_chunks::<LANES>(), q.as_chunks::<LANES>());
            let mut lanes = [0.0; LANES];
            for (p, q) in p.iter().zip(q) {
                for i in 0..LANES {
                    lanes[i] += super::exp::exp(p[i] - largest) * (p[i] - q[i]);
                }
            }
            for (lane, (p, q)) in lanes.iter_mut().zip(last_p.iter().zip(last_q)) {
                *lane += super::exp::exp(p - largest) * (p - q);
            }
            *weighted += f64::from(tree(&mut lanes, |a, b| a + b));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::noise;

    fn exact(x: &[f32]) -> f64 {
        let largest = x.iter().fold(f32::NEG_INFINITY, |largest, &x| largest.max(x));
        f64::from(largest) + x.iter().map(|&x| (f64::from(x) - f64::from(largest)).exp()).sum::<f64>().ln()
    }

    fn exact_divergence(p: &[f32], q: &[f32]) -> f64 {
        let (of_p, of_q) = (exact(p), exact(q));
        let term = |(&p, &q): (&f32, &f32)| {
            let (p, q) = (f64::from(p) - of_p, f64::from(q) - of_q);
            p.exp() * (p - q)
        };
        p.iter().zip(q).map(term).sum()
    }

    proptest! {
        #[test]
        fn agree_with_f64_on_every_isa(len in 1..3000_usize, seed: u64, spread in 0.1..30.0_f32) {
            let p: Vec<f32> = noise(seed, len).iter().map(|x| spread * x - 7.0).collect();
            let q: Vec<f32> = noise(seed ^ 1, len).iter().zip(&p).map(|(x, p)| p + 0.3 * x).collect();
            let scalar = (log_sum_exp(Isa::SCALAR, &p), log_sum_exp(Isa::SCALAR, &q));
            prop_assert!((scalar.0.value() - exact(&p)).abs() < 1e-6);
            let divergence = kl_divergence(Isa::SCALAR, (&p, scalar.0), (&q, scalar.1));
            prop_assert!((divergence - exact_divergence(&p, &q)).abs() < 1e-6);
            for isa in Isa::available() {
                prop_assert_eq!((log_sum_exp(isa, &p), log_sum_exp(isa, &q)), scalar);
                prop_assert_eq!(kl_divergence(isa, (&p, scalar.0), (&q, scalar.1)), divergence);
            }
        }
    }

    #[test]
    fn a_whole_vocabulary_loses_nothing() {
        let p: Vec<f32> = noise(3, 248_320).iter().map(|x| 4.0 * x).collect();
        let q: Vec<f32> = noise(4, 248_320).iter().zip(&p).map(|(x, p)| p + 0.01 * x).collect();
        let (of_p, of_q) = (log_sum_exp(Isa::widest(), &p), log_sum_exp(Isa::widest(), &q));
        assert!((of_p.value() - exact(&p)).abs() < 2e-7, "{} for {}", of_p.value(), exact(&p));
        let (found, exact) = (kl_divergence(Isa::widest(), (&p, of_p), (&q, of_q)), exact_divergence(&p, &q));
        assert!((found - exact).abs() < 2e-7, "{found:e} for {exact:e}");
    }

    #[test]
    fn a_distribution_does_not_diverge_from_itself() {
        let p = noise(5, 5000);
        let of_p = log_sum_exp(Isa::widest(), &p);
        assert!(kl_divergence(Isa::widest(), (&p, of_p), (&p, of_p)).abs() < 1e-15);
    }

    #[test]
    fn what_is_no_number_shows() {
        for wrong in [f32::NAN, f32::INFINITY] {
            for at in [0, 17, 2998] {
                let mut x = noise(6, 2999);
                x[at] = wrong;
                assert!(log_sum_exp(Isa::widest(), &x).value().is_nan(), "{wrong} at {at}");
            }
        }
        assert!(log_sum_exp(Isa::widest(), &[f32::NEG_INFINITY; 40]).value().is_nan());
        assert_eq!(log_sum_exp(Isa::widest(), &[f32::NEG_INFINITY, 1.5]).value(), 1.5);
    }
}
