//! When a text ends, as the command line says it and as results name it.

use std::str::FromStr;

use anyhow::bail;
use loquent::checkpoint::GenerationConfig;
use loquent::prelude::*;

/// New tokens where neither `-n` nor the checkpoint says how many, and nothing else ends the text.
const DEFAULT_NEW_TOKENS: usize = 512;

/// What results call an end by Ctrl-C.
pub(super) const INTERRUPTED: &str = "interrupted";

/// The part of the command line that says when a text ends.
#[derive(clap::Args)]
pub(super) struct EndingArgs {
    /// At most this many new tokens, as far as the context goes; -1 is all that fit [default: the checkpoint's, or 512]
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    max_tokens: Option<NewTokens>,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl EndingArgs {
    /// What is not given comes from the checkpoint's generation_config.json.
    pub(super) fn rules(&self, defaults: &GenerationConfig) -> StopRules {
        let usual = defaults.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS);
        let NewTokens(asked) = self.max_tokens.unwrap_or(NewTokens(Some(usual)));
        StopRules { stop_texts: self.stop.clone(), ..StopRules::after(asked.unwrap_or(usize::MAX)) }
    }

    /// How many new tokens are asked for, if any number is.
    pub(super) fn asked(&self) -> Option<usize> {
        self.max_tokens.and_then(|NewTokens(asked)| asked)
    }
}

/// How many new tokens there may be, `None` for as many as fit.
#[derive(Clone, Copy, Debug)]
struct NewTokens(Option<usize>);

impl FromStr for NewTokens {
    type Err = String;

    /// llama.cpp knows two words for "as many as fit", -1 and -2, which differ where a context moves along with its text.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" | "-2" => Ok(Self(None)),
            _ => text.parse().map(|count| Self(Some(count))).map_err(|_| "expected -1, or how many".to_owned()),
        }
    }
}

/// Tokens a second, of none 0. Of an answer, the first one comes with the prompt's last step and does not count.
pub(super) fn rate(tokens: usize, seconds: f64) -> f64 {
    if tokens > 0 { tokens as f64 / seconds } else { 0.0 }
}

/// What results call the end of a sequence; an error, if it should not have ended so.
pub(super) fn name(reason: &FinishReason) -> anyhow::Result<&'static str> {
    Ok(match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => INTERRUPTED,
        FinishReason::Refused(refusal) => bail!(refusal.clone()),
        FinishReason::NonFinite => {
            bail!("the model's weights overflow on this prompt: expected finite logits, found none")
        }
        other => bail!("the sequence ended for another reason: {other:?}"),
    })
}
