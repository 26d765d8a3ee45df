//! The profile as a table for people.

use super::SystemCost;

/// What every system cost, as lines of text: on the device where it had one do something, and on the host otherwise.
/// `bandwidth` is what reads memory at most, in bytes per second, and
/// the last column the share of it that a system reached.
///
/// ```
/// use loquent::schedule::profile::{SystemCost, table};
///
/// let cost = SystemCost {
///     system: "run_mlp".into(),
///     set: "Mlp".into(),
///     calls: 10,
///     time: std::time::Duration::from_millis(20),
///     device: std::time::Duration::ZERO,
///     bytes: 400_000_000,
///     operations: 400_000_000,
/// };
/// let text = table([cost], 40e9);
/// let row = text.lines().nth(1).unwrap();
/// assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["run_mlp", "Mlp", "10", "20.0", "100.0", "2000.0", "20.0", "20.0", "50"]);
/// ```
#[must_use]
pub fn table(costs: impl IntoIterator<Item = SystemCost>, bandwidth: f64) -> String {
    let costs: Vec<SystemCost> = costs.into_iter().collect();
    let seconds = |cost: &SystemCost| if cost.device.is_zero() { cost.time } else { cost.device }.as_secs_f64();
    let total: f64 = costs.iter().map(seconds).sum();
    let mut text = format!(
        "{:<26} {:<10} {:>8} {:>10} {:>7} {:>10} {:>7} {:>9} {:>7}",
        "system", "set", "calls", "total ms", "share %", "mean µs", "GB/s", "GFLOP/s", "% of BW"
    );
    for cost in costs {
        let seconds = seconds(&cost);
        let speed = cost.bytes as f64 / seconds;
        text += &format!(
            "\n{:<26} {:<10} {:>8} {:>10.1} {:>7.1} {:>10.1} {:>7.1} {:>9.1} {:>7.0}",
            cost.system,
            cost.set,
            cost.calls,
            seconds * 1e3,
            100.0 * seconds / total,
            seconds * 1e6 / cost.calls as f64,
            speed / 1e9,
            cost.operations as f64 / seconds / 1e9,
            100.0 * speed / bandwidth,
        );
    }
    text
}
