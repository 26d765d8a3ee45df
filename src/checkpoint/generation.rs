//! `generation_config.json`: what the makers of a model sample with. Every field is optional; flags override them.

#![forbid(unsafe_code)]

use super::error::CheckpointError;
use super::json::{self, Fields};
use super::source::Source;

const FILE: &str = "generation_config.json";
const LARGEST: u64 = 1 << 20;

/// Defaults for sampling. `None` is what the file leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Reads the file if there is one; all fields are open if not.
    pub(super) fn load(source: Source<'_>, vocab_size: usize) -> Result<Self, CheckpointError> {
        let Some(text) = source.text(FILE, LARGEST)? else { return Ok(Self::default()) };
        let path = source.path(FILE);
        let value = json::parse(&path, &text)?;
        let fields = Fields::of(&path, &value)?;
        warn_of_unused(fields);
        let share = |field| single(fields, field, "a number from 0 to 1", |share| (0.0..=1.0).contains(&share));
        Ok(Self {
            do_sample: fields.flag("do_sample")?.unwrap_or(false),
            temperature: single(fields, "temperature", "a finite number, at least 0", |number| number >= 0.0)?,
            top_k: fields.integer("top_k", &(0..=1 << 31))?,
            top_p: share("top_p")?,
            min_p: share("min_p")?,
            repetition_penalty: single(fields, "repetition_penalty", "a finite number above 0", |number| number > 0.0)?,
            max_new_tokens: fields.integer("max_new_tokens", &(1..=1 << 31))?,
            eos_token_ids: fields.token_ids("eos_token_id", vocab_size)?,
        })
    }
}

/// A number that `is_right` and finite in single precision.
fn single(
    fields: Fields<'_>,
    field: &str,
    expected: &str,
    is_right: impl Fn(f32) -> bool,
) -> Result<Option<f32>, CheckpointError> {
    #[expect(clippy::cast_possible_truncation, reason = "logits are in single precision")]
    let round = |number: f64| number as f32;
    let number = fields.number(field, expected, |number| is_right(round(number)) && round(number).is_finite())?;
    Ok(number.map(round))
}

/// Says which settings of the file would change the output elsewhere and do not here.
fn warn_of_unused(fields: Fields<'_>) {
    /// Each with the value that changes nothing.
    const UNUSED: [(&str, f64); 7] = [
        ("num_beams", 1.0),
        ("typical_p", 1.0),
        ("epsilon_cutoff", 0.0),
        ("eta_cutoff", 0.0),
        ("no_repeat_ngram_size", 0.0),
        ("encoder_repetition_penalty", 1.0),
        ("penalty_alpha", 0.0),
    ];
    for (field, neutral) in UNUSED {
        if fields.get(field).is_some_and(|value| value.as_f64() != Some(neutral)) {
            tracing::warn!("{FILE}: `{field}` is not implemented and has no effect");
        }
    }
}
