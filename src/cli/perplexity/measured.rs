//! What was measured, in words and as JSON.

use std::path::Path;

use loquent::checkpoint::Promotion;
use loquent::cpu::{CacheType, Numerics};
use loquent::perplexity::{Comparison, Estimate, Perplexity};
use loquent::prelude::*;
use serde_json::{Value, json};

use crate::cli::model;

/// What was looked at.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) numerics: Numerics,
    pub(super) cache_type: CacheType,
    /// What it was computed on, besides the CPU.
    pub(super) adapter: Option<String>,
}

impl Subject {
    fn json(&self, found: &Perplexity) -> Value {
        let perplexity = found.perplexity();
        json!({
            "model": self.name, "numerics": model::numerics_name(self.numerics),
            "cache_type": self.cache_type.name(),
            "nll": found.nll.value, "nll_standard_error": found.nll.standard_error,
            "perplexity": perplexity.value, "perplexity_standard_error": perplexity.standard_error,
        })
    }

    fn line(&self, found: &Perplexity) -> String {
        format!(
            "{}, {}: perplexity {}, mean nll {}\n",
            self.name,
            model::numerics_name(self.numerics),
            with_error(found.perplexity()),
            with_error(found.nll),
        )
    }
}

pub(super) enum Found {
    One(Perplexity),
    Two(Comparison),
}

/// All there is to say at the end.
pub(super) struct Measured<'a> {
    pub(super) window: usize,
    pub(super) stride: usize,
    pub(super) delta_threshold: f64,
    pub(super) first: Subject,
    pub(super) second: Option<Subject>,
    pub(super) found: Found,
    pub(super) workers: &'a Workers,
    pub(super) seconds: f64,
}

impl Measured<'_> {
    fn first_found(&self) -> &Perplexity {
        match &self.found {
            Found::One(found) => found,
            Found::Two(found) => &found.first,
        }
    }

    /// The second model and what it was found to predict.
    fn comparison(&self) -> Option<(&Subject, &Comparison)> {
        match (&self.second, &self.found) {
            (Some(second), Found::Two(found)) => Some((second, found)),
            _ => None,
        }
    }

    pub(super) fn passed(&self) -> bool {
        self.comparison().is_none_or(|(_, found)| found.is_within(self.delta_threshold))
    }

    /// Writes the verdict into the index of the second model.
    pub(super) fn record(&self, directory: &Path) -> anyhow::Result<()> {
        let Some((_, found)) = self.comparison() else { return Ok(()) };
        let Self { window, stride, delta_threshold, .. } = self;
        let reason = format!(
            "perplexity changes by {} %, of {} % allowed, from that of {}, over {} tokens in windows of {window} every {stride}",
            with_error(percent(found.relative_change())),
            100.0 * delta_threshold,
            self.first.name,
            found.first.tokens,
        );
        let promotion = if self.passed() { Promotion::Promoted } else { Promotion::Rejected };
        Ok(promotion.record(directory, &reason)?)
    }

    fn tokens_per_second(&self) -> f64 {
        self.first_found().tokens as f64 / self.seconds
    }

    pub(super) fn json(&self) -> Value {
        let Self { window, stride, .. } = self;
        let mut done = self.first.json(self.first_found());
        done["event"] = "done".into();
        let settings = json!({
            "tokens": self.first_found().tokens, "window": window, "stride": stride, "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second(), "backend": if self.first.adapter.is_some() { "gpu" } else { "cpu" },
            "adapter": self.first.adapter,
            "isa": self.workers.isa().to_string(), "threads": self.workers.threads(),
        });
        let compare = self.comparison().map(|(second, found)| {
            let mut compare = second.json(&found.second);
            let mut add = |name: &str, estimate: Estimate| {
                compare[name] = estimate.value.into();
                compare[format!("{name}_standard_error")] = estimate.standard_error.into();
            };
            add("nll_difference", found.difference);
            add("perplexity_ratio", found.ratio());
            add("kl_divergence", found.divergence);
            add("same_likeliest", found.same_likeliest);
            compare["delta_threshold"] = self.delta_threshold.into();
            compare["passed"] = self.passed().into();
            compare
        });
        for (name, value) in settings.as_object().into_iter().flatten() {
            done[name] = value.clone();
        }
        if let Some(compare) = compare {
            done["compare"] = compare;
        }
        done
    }

    pub(super) fn table(&self) -> String {
        let Self { window, stride, delta_threshold, .. } = self;
        let mut text = self.first.line(self.first_found());
        if let Some((second, found)) = self.comparison() {
            let change = percent(found.relative_change());
            text += &second.line(&found.second);
            text += &format!("difference of the mean nll   {}\n", with_error(found.difference));
            text += &format!("ratio of the perplexities    {}\n", with_error(found.ratio()));
            text += &format!("mean KL divergence           {}\n", with_error(found.divergence));
            text += &format!("same likeliest token, %      {}\n", with_error(percent(found.same_likeliest)));
            let (verdict, allowed) = (if self.passed() { "PASS" } else { "FAIL" }, 100.0 * delta_threshold);
            text += &format!("{verdict}: perplexity changes by {} %, of {allowed} % allowed\n", with_error(change));
        }
        let (tokens, speed) = (self.first_found().tokens, self.tokens_per_second());
        let (threads, isa) = (self.workers.threads(), self.workers.isa());
        text += &format!(
            "{tokens} tokens at {speed:.1}/s, in windows of {window} every {stride}, {threads} threads, {isa}\n"
        );
        text
    }
}

fn percent(share: Estimate) -> Estimate {
    Estimate { value: 100.0 * share.value, standard_error: share.standard_error.map(|error| 100.0 * error) }
}

/// A figure to two digits of its standard error.
fn with_error(estimate: Estimate) -> String {
    match estimate.standard_error {
        Some(error) if error > 0.0 && error.is_finite() => {
            let digits = (1.0 - error.log10().floor()).clamp(0.0, 15.0) as usize;
            format!("{:.digits$} ± {error:.digits$}", estimate.value)
        }
        _ => format!("{:.6}", estimate.value),
    }
}
