//! What there is to say about a turn.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::draft;
use crate::cli::ending::{INTERRUPTED, rate};

/// A turn that was taken.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// Why it ended.
    pub(super) reason: &'static str,
    /// All that was said before the answer.
    pub(super) prompt: usize,
    /// How many of these were in the caches.
    pub(super) cached: usize,
    /// Those of the answer.
    pub(super) new: usize,
    /// How long the prompt was read.
    pub(super) prefill: Duration,
    /// How long the answer was made after its first token.
    pub(super) decode: Duration,
    /// How many turns were forgotten meanwhile.
    pub(super) forgotten: usize,
    /// What has come of guesses, in this turn and those before.
    pub(super) draft: Option<Value>,
}

impl Turn {
    pub(super) fn was_interrupted(&self) -> bool {
        self.reason == INTERRUPTED
    }

    fn prefill_rate(&self) -> f64 {
        rate(self.prompt - self.cached, self.prefill.as_secs_f64())
    }

    fn decode_rate(&self) -> f64 {
        rate(self.new.saturating_sub(1), self.decode.as_secs_f64())
    }

    pub(super) fn json(&self) -> Value {
        let mut figures = json!({
            "finish_reason": self.reason, "prompt_tokens": self.prompt, "cached_tokens": self.cached,
            "new_tokens": self.new, "prefill_tokens_per_second": self.prefill_rate(),
            "decode_tokens_per_second": self.decode_rate(), "forgotten_turns": self.forgotten,
        });
        if let Some(record) = &self.draft {
            figures["draft"] = record.clone();
        }
        figures
    }

    /// What `/stats` shows.
    pub(super) fn stats(&self, context: usize) -> String {
        let Self { prompt, cached, new, .. } = self;
        let guesses = self.draft.as_ref().map(|record| format!("\nguesses: {}", draft::sentence(record)));
        let guesses = guesses.unwrap_or_default();
        format!(
            "context: {} of {context} tokens\nprompt:  {prompt} tokens, {cached} of them cached, {} read at {:.1}/s\n\
             answer:  {new} tokens at {:.1}/s{guesses}",
            prompt + new,
            prompt - cached,
            self.prefill_rate(),
            self.decode_rate(),
        )
    }
}
