//! What scores say together, and how sure it is.

use super::score::Score;

/// A figure, and how much it would differ from one text of this kind and length to another.
///
/// The standard error of a mean is that of independent values, `sqrt(s^2 / n)`, where `s^2` is their variance with
/// `n - 1` degrees of freedom. Neighbouring tokens are not quite independent, so it is a little too small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error; none of a single value.
    pub standard_error: Option<f64>,
}

impl Estimate {
    fn of_mean(values: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let count = values.len() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        let standard_error = (count > 1.0).then(|| (squares / (count - 1.0) / count).sqrt());
        Self { value: mean, standard_error }
    }

    /// The exponential, with the error to first order: `exp(x) dx`.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        Self { value, standard_error: self.standard_error.map(|error| value * error) }
    }
}

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Perplexity {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// The mean negative log-likelihood of a token, in nats.
    pub nll: Estimate,
}

impl Perplexity {
    pub(super) fn of(scores: &[Score]) -> Self {
        Self { tokens: scores.len(), nll: Estimate::of_mean(scores.iter().map(|score| score.nll)) }
    }

    /// Its exponential: among how many equally likely tokens the model is as undecided.
    #[must_use]
    pub fn perplexity(&self) -> Estimate {
        self.nll.exp()
    }
}

/// How a second model predicts the same text.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The first model.
    pub first: Perplexity,
    /// The second.
    pub second: Perplexity,
    /// The mean of the second's negative log-likelihood less the first's, token by token. Its error is much less than
    /// either's, because what is hard for one to predict is hard for both.
    pub difference: Estimate,
    /// The mean Kullback-Leibler divergence of the second's next-token distributions from the first's, in nats.
    pub divergence: Estimate,
    /// The share of places where both hold the same token to be the likeliest.
    pub same_likeliest: Estimate,
}

impl Comparison {
    pub(super) fn of(first: &[Score], second: &[Score], divergences: &[f64]) -> Self {
        let pairs = first.iter().zip(second);
        Self {
            first: Perplexity::of(first),
            second: Perplexity::of(second),
            difference: Estimate::of_mean(pairs.clone().map(|(first, second)| second.nll - first.nll)),
            divergence: Estimate::of_mean(divergences.iter().copied()),
            same_likeliest: Estimate::of_mean(
                pairs.map(|(first, second)| f64::from(u8::from(first.likeliest == second.likeliest))),
            ),
        }
    }

    /// The second's perplexity divided by the first's.
    #[must_use]
    pub fn ratio(&self) -> Estimate {
        self.difference.exp()
    }

    /// By what part of the first's perplexity the second's is larger, or smaller where it is negative.
    #[must_use]
    pub fn relative_change(&self) -> Estimate {
        let ratio = self.ratio();
        Estimate { value: ratio.value - 1.0, ..ratio }
    }

    /// Whether perplexity changes by at most `threshold` of itself, in either direction.
    #[must_use]
    pub fn is_within(&self, threshold: f64) -> bool {
        self.relative_change().value.abs() <= threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(nll: &[f64], likeliest: &[u32]) -> Vec<Score> {
        nll.iter().zip(likeliest).map(|(&nll, &likeliest)| Score { nll, likeliest }).collect()
    }

    #[test]
    fn the_error_of_a_mean_is_that_of_independent_values() {
        let found = Perplexity::of(&scores(&[1.0, 2.0, 3.0, 6.0], &[0; 4]));
        assert_eq!((found.tokens, found.nll.value), (4, 3.0));
        // The variance is (4 + 1 + 0 + 9) / 3.
        assert_eq!(found.nll.standard_error, Some((14.0_f64 / 3.0 / 4.0).sqrt()));
        let perplexity = found.perplexity();
        assert_eq!(perplexity.value, 3.0_f64.exp());
        assert_eq!(perplexity.standard_error, found.nll.standard_error.map(|error| error * 3.0_f64.exp()));
    }

    #[test]
    fn one_value_says_nothing_of_its_error() {
        let found = Perplexity::of(&scores(&[1.5], &[0])).perplexity();
        assert_eq!((found.value, found.standard_error), (1.5_f64.exp(), None));
    }

    #[test]
    fn differences_are_paired() {
        let first = scores(&[1.0, 5.0, 9.0], &[1, 2, 3]);
        let second = scores(&[1.5, 5.5, 9.5], &[1, 2, 4]);
        let found = Comparison::of(&first, &second, &[0.1, 0.2, 0.3]);
        assert_eq!((found.difference.value, found.difference.standard_error), (0.5, Some(0.0)));
        assert_eq!(found.ratio().value, 0.5_f64.exp());
        assert!((found.divergence.value - 0.2).abs() < 1e-15);
        assert!((found.same_likeliest.value - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_change_counts_in_either_direction() {
        let change = |nll: f64| Comparison::of(&scores(&[1.0], &[0]), &scores(&[1.0 + nll], &[0]), &[0.0]);
        assert!((change(0.01).relative_change().value - 0.010_050_167).abs() < 1e-9);
        assert!(change(0.01).is_within(0.0101) && !change(0.01).is_within(0.01));
        assert!(change(-0.01).is_within(0.01) && !change(-0.01).is_within(0.0099));
        assert!(change(0.0).is_within(0.0) && !change(f64::NAN).is_within(1e9));
    }
}
