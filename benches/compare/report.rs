//! The table, and what it comes to.

use std::fmt;

use super::samples::Benchmarks;
use super::statistics::{Change, Run, adjust};

/// The p-value below which a difference is believed.
const SIGNIFICANT: f64 = 0.05;
/// Differences as small as this come from where code happens to lie in memory.
const NOISE: f64 = 0.01;
/// Slower by more than this is a regression.
const REGRESSION: f64 = 0.03;

/// All benchmarks of two revisions.
pub(crate) struct Report {
    /// Those of both, with p-values that count how many they are.
    changes: Vec<(String, Change)>,
    /// Those of the head only.
    new: Vec<String>,
    /// Those of the base only.
    gone: Vec<String>,
    /// Those that did not run twice in both.
    unknown: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    NoChange,
    Faster,
    Slower,
}

impl Verdict {
    fn of(change: &Change) -> Self {
        if change.p > SIGNIFICANT || (change.ratio - 1.0).abs() <= NOISE {
            Self::NoChange
        } else if change.ratio < 1.0 {
            Self::Faster
        } else {
            Self::Slower
        }
    }
}

impl Report {
    pub(crate) fn of(benchmarks: Benchmarks) -> Self {
        let mut report = Self { changes: Vec::new(), new: Vec::new(), gone: Vec::new(), unknown: Vec::new() };
        for (name, rounds) in benchmarks {
            let in_base = rounds.iter().any(|round| round.0.is_some());
            let in_head = rounds.iter().any(|round| round.1.is_some());
            let pairs: Vec<(Run, Run)> = rounds.into_iter().filter_map(|(base, head)| base.zip(head)).collect();
            match (in_base, in_head, Change::of(&pairs)) {
                (_, _, Some(change)) => report.changes.push((name, change)),
                (true, false, None) => report.gone.push(name),
                (false, true, None) => report.new.push(name),
                (_, _, None) => report.unknown.push(name),
            }
        }
        adjust(&mut report.changes.iter_mut().map(|(_, change)| &mut change.p).collect::<Vec<_>>());
        report
    }

    /// Whether a benchmark has become slower by more than is put up with.
    pub(crate) fn has_regression(&self) -> bool {
        self.changes.iter().any(|(_, change)| Verdict::of(change) == Verdict::Slower && change.ratio - 1.0 > REGRESSION)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changes.is_empty() {
            let width = self.changes.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
            let (percent, p) = ("95 % interval", "p");
            writeln!(f, "{:width$}  {:>9}  {:>9}  {:>8}  {percent:^18}  {p:>6}", "", "base", "head", "change")?;
            for (name, change) in &self.changes {
                let Change { base, head, ratio, interval, p } = *change;
                let verdict = match Verdict::of(change) {
                    Verdict::NoChange => "no change",
                    Verdict::Faster => "faster",
                    Verdict::Slower => "slower",
                };
                let (base, head, change) = (duration(base), duration(head), percent_of(ratio));
                let interval = format!("{} to {}", percent_of(interval.0), percent_of(interval.1));
                writeln!(
                    f,
                    "{name:width$}  {base:>9}  {head:>9}  {change:>6} %  {interval:>16} %  {p:>6.4}  {verdict}"
                )?;
            }
            writeln!(
                f,
                "\nMedians; the change is the mean over rounds, and p is Student's paired t-test over rounds, adjusted for {} \
                 benchmarks (Holm).\nNo change: p > {SIGNIFICANT}, or at most {} %.",
                self.changes.len(),
                100.0 * NOISE,
            )?;
        }
        for (title, names) in [("New", &self.new), ("Gone", &self.gone), ("Too few rounds to compare", &self.unknown)] {
            if !names.is_empty() {
                writeln!(f, "{title}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A ratio as a change in percent.
fn percent_of(ratio: f64) -> String {
    format!("{:+.1}", 100.0 * (ratio - 1.0))
}

/// Nanoseconds in a unit that leaves few digits.
fn duration(nanoseconds: f64) -> String {
    let (divisor, unit) = match nanoseconds {
        x if x < 1e3 => (1.0, "ns"),
        x if x < 1e6 => (1e3, "µs"),
        x if x < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    format!("{:.1} {unit}", nanoseconds / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rounds = Vec<(Option<Run>, Option<Run>)>;

    fn rounds(ratio: f64, spread: f64) -> Rounds {
        let round = |index: i32| (Some(vec![100.0]), Some(vec![100.0 * (ratio + spread * f64::from(index % 3 - 1))]));
        (0..9).map(round).collect()
    }

    fn report(benchmarks: &[(&str, Rounds)]) -> Report {
        Report::of(benchmarks.iter().map(|(name, rounds)| ((*name).to_owned(), rounds.clone())).collect())
    }

    #[test]
    fn only_a_certain_slowdown_of_more_than_three_percent_is_a_regression() {
        for (ratio, spread, expected, regression) in [
            (1.10, 0.01, Verdict::Slower, true),
            (1.02, 0.001, Verdict::Slower, false),
            (1.009, 0.001, Verdict::NoChange, false),
            (1.10, 0.30, Verdict::NoChange, false),
            (0.90, 0.01, Verdict::Faster, false),
            (0.991, 0.001, Verdict::NoChange, false),
        ] {
            let report = report(&[("one", rounds(ratio, spread))]);
            assert_eq!(Verdict::of(&report.changes[0].1), expected, "{ratio} {spread}");
            assert_eq!(report.has_regression(), regression, "{ratio} {spread}");
        }
    }

    #[test]
    fn what_is_one_in_many_counts_for_less() {
        let doubtful = ("doubtful", rounds(1.05, 0.06));
        assert_eq!(Verdict::of(&report(std::slice::from_ref(&doubtful)).changes[0].1), Verdict::Slower);
        let names: Vec<String> = (0..30).map(|index| format!("steady {index}")).collect();
        let mut many: Vec<_> = names.iter().map(|name| (&**name, rounds(1.0, 0.01))).collect();
        many.insert(0, doubtful);
        assert_eq!(Verdict::of(&report(&many).changes[0].1), Verdict::NoChange);
    }

    #[test]
    fn benchmarks_of_one_revision_are_listed_and_not_compared() {
        let in_head = rounds(1.0, 0.0).into_iter().map(|(_, head)| (None, head)).collect();
        let in_base = rounds(1.0, 0.0).into_iter().map(|(base, _)| (base, None)).collect();
        let report = report(&[("fresh", in_head), ("former", in_base)]);
        assert_eq!(report.to_string(), "New: fresh\nGone: former\n");
        assert!(!report.has_regression());
    }
}
