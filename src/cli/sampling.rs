//! How tokens are picked, as far as the command line says.

use std::str::FromStr;

use loquent::checkpoint::GenerationConfig;
use loquent::prelude::*;

/// What is not given comes from the checkpoint's generation_config.json.
#[derive(clap::Args)]
pub(super) struct SamplingArgs {
    /// Seed of the random numbers; -1 is a random one [default: -1]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<Seed>,
    /// Higher is more surprising; 0 always takes the likeliest token
    #[arg(long, visible_alias = "temp", value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Pick among this many likeliest tokens; 0 is all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Pick among the likeliest tokens that reach this probability together
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Pick among tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Divide the logits of tokens already in the prompt or the text
    #[arg(long, value_name = "R")]
    repeat_penalty: Option<f32>,
    /// Lower the logits of tokens already in the new text
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// Lower the logits of tokens for each time they are in the new text
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
}

/// A seed, `None` for a random one.
#[derive(Clone, Copy, Debug)]
struct Seed(Option<u64>);

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self(None)),
            _ => text.parse().map(|seed| Self(Some(seed))).map_err(|_| "expected -1, or a whole number".to_owned()),
        }
    }
}

impl SamplingArgs {
    /// Ends the process where a setting is out of its range.
    pub(super) fn check(&self) {
        if let Err(error) = self.over(&GenerationConfig::default()).validate() {
            super::wrong_usage(&error.to_string());
        }
    }

    /// The seed asked for, or a random one.
    pub(super) fn seed(&self) -> u64 {
        self.seed.and_then(|seed| seed.0).unwrap_or_else(|| u64::from(rand::random::<u32>()))
    }

    /// The flags over the checkpoint's defaults. Sampling is on where the checkpoint says so, or a flag that only makes
    /// sense then is given.
    pub(super) fn over(&self, defaults: &GenerationConfig) -> Sampling {
        let asked = self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some();
        let mut defaults = defaults.clone();
        defaults.do_sample |= asked;
        let defaults = defaults.sampling();
        Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repeat_penalty.unwrap_or(defaults.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
        }
    }
}
