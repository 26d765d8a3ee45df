//! The profile as a timeline for Perfetto or `chrome://tracing`.

use serde_json::json;

use super::SystemRun;

/// The runs as a Chrome trace: a JSON object with one complete event for each.
#[must_use]
pub fn chrome_trace(runs: &[SystemRun]) -> String {
    let events: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "name": run.system, "cat": run.set, "ph": "X", "pid": 1, "tid": 1,
                "ts": run.start.as_secs_f64() * 1e6, "dur": run.time.as_secs_f64() * 1e6,
            })
        })
        .collect();
    json!({"traceEvents": events, "displayTimeUnit": "ms"}).to_string()
}
