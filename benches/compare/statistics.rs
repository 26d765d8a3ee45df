//! Whether two revisions differ. Samples of one run are not independent: they share what the machine was doing and where
//! the program came to lie in memory. So a run counts as one number, its median, and rounds, in each of which both
//! revisions ran one after the other, are what is tested: Student's paired t-test of the logarithms.

/// One benchmark's run in one revision: nanoseconds of an iteration, in each sample.
pub(crate) type Run = Vec<f64>;

/// What is known about one benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    /// Median over rounds of the base's medians, in nanoseconds.
    pub(crate) base: f64,
    /// The same of the head.
    pub(crate) head: f64,
    /// Head over base: the geometric mean over rounds.
    pub(crate) ratio: f64,
    /// Where the ratio lies with 95 % confidence.
    pub(crate) interval: (f64, f64),
    /// How often chance alone makes such a difference where there is none.
    pub(crate) p: f64,
}

impl Change {
    /// Compares the runs of each round, the base's first; `None` for fewer than two rounds.
    pub(crate) fn of(rounds: &[(Run, Run)]) -> Option<Self> {
        let medians: Vec<(f64, f64)> = rounds.iter().map(|(base, head)| (median(base), median(head))).collect();
        let logs: Vec<f64> = medians.iter().map(|(base, head)| (head / base).ln()).collect();
        let count = logs.len() as f64;
        let freedom = logs.len().checked_sub(1).filter(|&freedom| freedom > 0)?;
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / freedom as f64;
        let error = (variance / count).sqrt();
        let margin = quantile(0.05, freedom) * error;
        Some(Self {
            base: median(&medians.iter().map(|round| round.0).collect::<Vec<_>>()),
            head: median(&medians.iter().map(|round| round.1).collect::<Vec<_>>()),
            ratio: mean.exp(),
            interval: ((mean - margin).exp(), (mean + margin).exp()),
            p: if mean == 0.0 { 1.0 } else { two_sided(mean.abs() / error, freedom) },
        })
    }
}

/// The middle value, or what lies between the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count => f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]),
    }
}

/// Each p-value as it counts among all the others (Holm, 1979): were nothing different at all, the chance that even one
/// of them is below 0.05 is below 0.05.
pub(crate) fn adjust(values: &mut [&mut f64]) {
    values.sort_by(|a, b| a.total_cmp(b));
    let (count, mut least) = (values.len(), 0.0_f64);
    for (rank, p) in values.iter_mut().enumerate() {
        least = least.max(**p * (count - rank) as f64).min(1.0);
        **p = least;
    }
}

/// How often Student's t with so many degrees of freedom is further from zero than `t` (Abramowitz and Stegun, 26.7.3
/// and 26.7.4).
fn two_sided(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    for power in (1 + usize::from(odd)..freedom).step_by(2) {
        sum += term;
        term *= cos * cos * power as f64 / (power + 1) as f64;
    }
    let within = if odd { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    (1.0 - within).max(0.0)
}

/// The `t` for which [`two_sided`] is `p`.
fn quantile(p: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, freedom) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_printed_tables() {
        for (p, freedom, expected) in [
            (0.05, 1, 12.706),
            (0.05, 2, 4.303),
            (0.05, 3, 3.182),
            (0.05, 9, 2.262),
            (0.05, 10, 2.228),
            (0.001, 1, 636.619),
            (0.001, 4, 8.610),
            (0.001, 30, 3.646),
            (0.2, 7, 1.415),
        ] {
            let found = quantile(p, freedom);
            assert!((found - expected).abs() < 5.1e-4, "{p} {freedom}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_change_is_that_of_the_medians_with_its_interval() {
        let rounds = [1.08, 1.10, 1.12].map(|ratio| (vec![9.0, 10.0, 900.0], vec![10.0 * ratio, 1.0, 1e6]));
        let change = Change::of(&rounds).unwrap();
        assert_eq!((change.base, change.head), (10.0, 11.0));
        assert!((change.ratio - 1.0999).abs() < 1e-4, "{change:?}");
        // t is 9.0675; with two degrees of freedom p is 1 - t / sqrt(t² + 2), and 4.3027 is the t of 0.05.
        assert!((change.interval.0 - 1.0513).abs() < 1e-4 && (change.interval.1 - 1.1507).abs() < 1e-4, "{change:?}");
        assert!((change.p - 0.011_944).abs() < 1e-6, "{change:?}");
    }

    #[test]
    fn without_spread_a_change_is_certain_and_no_change_is_none() {
        let same = Change::of(&vec![(vec![5.0], vec![5.0]); 4]).unwrap();
        assert_eq!((same.ratio, same.p), (1.0, 1.0));
        assert_eq!(Change::of(&vec![(vec![5.0], vec![10.0]); 4]).unwrap().p, 0.0);
    }

    #[test]
    fn a_single_round_says_nothing() {
        assert_eq!(Change::of(&[(vec![1.0], vec![2.0])]), None);
        assert_eq!(Change::of(&[]), None);
    }

    #[test]
    fn holm_counts_the_tests_that_are_left() {
        let mut p = [0.04, 0.01, 0.03, 0.9];
        adjust(&mut p.iter_mut().collect::<Vec<_>>());
        // The second smallest, 0.03, counts three times; the third is never less than the second.
        assert_eq!(p, [0.09, 0.04, 0.09, 0.9]);
    }

    /// Rounds on a machine whose speed drifts from round to round, whose runs differ by some 2 %, and where one run in
    /// ten is disturbed a great deal.
    fn noisy_rounds(random: &mut ChaCha8Rng, slowdown: f64) -> Vec<(Run, Run)> {
        let mut run = |speed: f64| {
            let disturbed = if random.random_bool(0.1) { random.random_range(1.0..1.3) } else { 1.0 };
            let level = speed * disturbed * random.random_range(0.98..1.02);
            (0..10).map(|_| level * random.random_range(0.99..1.05)).collect()
        };
        (0..10).map(|round| (run(1.0 + 0.05 * f64::from(round)), run(slowdown + 0.05 * f64::from(round)))).collect()
    }

    #[test]
    fn on_a_noisy_machine_chance_is_called_significant_no_more_often_than_promised() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let found = (0..2000).filter(|_| Change::of(&noisy_rounds(&mut random, 1.0)).unwrap().p < 0.05).count();
        assert!(found <= 120, "{found} of 2000, of which some 100 are allowed");
    }
}
