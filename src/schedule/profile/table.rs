//! The profile as a table for people.

use super::{Phase, Profile, SystemCost};

/// What every system cost, as lines of text: on the device where it had one do something, and on the host otherwise.
/// `bandwidth` is what reads memory at most, in bytes per second, and the last column the share of it that a system reached.
///
/// ```
/// use std::time::Duration;
///
/// use loquent::schedule::profile::{SystemCost, Times, table};
///
/// let (p50, p99) = (Duration::from_micros(1900), Duration::from_micros(3000));
/// let cost = SystemCost {
///     system: "run_mlp".into(),
///     set: "Mlp".into(),
///     host: Times { count: 10, total: Duration::from_millis(20), p50, p99 },
///     device: Times::default(),
///     bytes: 400_000_000,
///     operations: 400_000_000,
/// };
/// let text = table([cost], 40e9);
/// let row = text.lines().nth(1).unwrap();
/// assert_eq!(
///     row.split_whitespace().collect::<Vec<_>>(),
///     ["run_mlp", "Mlp", "10", "20.0", "100.0", "2000.0", "1900.0", "3000.0", "400.0", "20.0", "20.0", "50"]
/// );
/// ```
#[must_use]
pub fn table(costs: impl IntoIterator<Item = SystemCost>, bandwidth: f64) -> String {
    let costs: Vec<SystemCost> = costs.into_iter().collect();
    let total: f64 = costs.iter().map(SystemCost::seconds).sum();
    let mut text = format!(
        "{:<26} {:<10} {:>8} {:>10} {:>7} {:>9} {:>9} {:>9} {:>10} {:>7} {:>9} {:>7}",
        "system",
        "set",
        "calls",
        "total ms",
        "share %",
        "mean µs",
        "p50 µs",
        "p99 µs",
        "MB",
        "GB/s",
        "GFLOP/s",
        "% of BW"
    );
    for cost in costs {
        let times = cost.times();
        text += &format!(
            "\n{:<26} {:<10} {:>8} {:>10.1} {:>7.1} {:>9.1} {:>9.1} {:>9.1} {:>10.1} {:>7.1} {:>9.1} {:>7.0}",
            cost.system,
            cost.set,
            cost.host.count,
            cost.seconds() * 1e3,
            100.0 * cost.seconds() / total,
            times.mean() * 1e6,
            times.p50.as_secs_f64() * 1e6,
            times.p99.as_secs_f64() * 1e6,
            cost.bytes as f64 / 1e6,
            cost.bandwidth() / 1e9,
            cost.speed() / 1e9,
            100.0 * cost.bandwidth() / bandwidth,
        );
    }
    text
}

/// A table for each phase that had steps, under its name.
#[must_use]
pub fn tables(profile: &Profile, bandwidth: f64) -> String {
    let with_steps = Phase::ALL.into_iter().filter(|&phase| profile.steps(phase) > 0);
    let tables = with_steps.map(|phase| {
        let steps = profile.steps(phase);
        // A host that waits for a device has its time in this already.
        let seconds: f64 = profile.costs_of(phase).map(|cost| cost.host.total.as_secs_f64()).sum();
        let note = if phase == Phase::Prompt { ", what was generated in the same steps included" } else { "" };
        let unit = if steps == 1 { "step" } else { "steps" };
        let heading = format!("{}: {steps} {unit} of {:.2} ms{note}", phase.name(), 1e3 * seconds / steps as f64);
        format!("{heading}\n{}", table(profile.costs_of(phase), bandwidth))
    });
    tables.collect::<Vec<_>>().join("\n\n")
}
