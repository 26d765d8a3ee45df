//! `generation_config.json`: what the makers of a model sample with. Every field is optional; flags override them.

#![forbid(unsafe_code)]

use super::error::CheckpointError;
use super::json::{self, Fields};
use super::source::Source;
use super::unused_settings;
use crate::sampling::Sampling;

const FILE: &str = "generation_config.json";
const LARGEST: u64 = 1 << 20;

/// Defaults for sampling. `None` is what the file leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// Whether to sample at all; otherwise the likeliest token is taken. Off where the file does not say.
    pub do_sample: bool,
    /// Divides the logits, `≥ 0`; 0 is greedy. 1 where open.
    pub temperature: Option<f32>,
    /// Keeps the `k` likeliest tokens; 0 keeps all. 50 where open.
    pub top_k: Option<usize>,
    /// Keeps the likeliest tokens up to this share of the probability, from 0 to 1. 1 where open.
    pub top_p: Option<f32>,
    /// Keeps tokens at least this likely in relation to the likeliest, from 0 to 1. 0 where open.
    pub min_p: Option<f32>,
    /// Makes tokens of the text so far less likely if above 1. 1 where open.
    pub repetition_penalty: Option<f32>,
    /// At most this many new tokens, unless the caller says otherwise.
    pub max_new_tokens: Option<usize>,
    /// What ends a text; `None` leaves it to `config.json`.
    pub eos_token_ids: Option<Vec<u32>>,
}

impl GenerationConfig {
    /// Reads the file if there is one; all fields are open if not. With what the file says besides that has no effect.
    pub(super) fn load(source: Source<'_>, vocab_size: usize) -> Result<(Self, Vec<CheckpointError>), CheckpointError> {
        let Some(text) = source.text(FILE, LARGEST)? else { return Ok((Self::default(), Vec::new())) };
        let path = source.path(FILE);
        let value = json::parse(&path, &text)?;
        let fields = Fields::of(&path, &value)?;
        let config = Self {
            do_sample: fields.flag("do_sample")?.unwrap_or(false),
            temperature: single(fields, "temperature"),
            top_k: fields.integer("top_k", &(0..=1 << 31))?,
            top_p: single(fields, "top_p"),
            min_p: single(fields, "min_p"),
            repetition_penalty: single(fields, "repetition_penalty"),
            max_new_tokens: fields.integer("max_new_tokens", &(1..=1 << 31))?,
            eos_token_ids: fields.token_ids("eos_token_id", vocab_size)?,
        };
        config.all().validate().map_err(|invalid| fields.error(invalid.name, invalid.expected))?;
        Ok((config, unused_settings::unused(&path, fields)))
    }

    /// What to sample with: the file's settings over the defaults of transformers, or greedily with the file's penalty
    /// where it does not ask for sampling.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        if self.do_sample {
            return self.all();
        }
        Sampling { repetition_penalty: self.all().repetition_penalty, ..Sampling::default() }
    }

    /// All settings, whether the file asks for sampling or not.
    fn all(&self) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(50),
            top_p: self.top_p.unwrap_or(1.0),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            ..Sampling::default()
        }
    }
}

/// A number in single precision, which is what logits are in. What is none, or too large for one, becomes one that no
/// setting may have.
fn single(fields: Fields<'_>, field: &str) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is asked for")]
    let round = |number: f64| number as f32;
    fields.get(field).map(|value| value.as_f64().map_or(f32::NAN, round))
}
