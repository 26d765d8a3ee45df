//! Whether a changed model computes what the original does: both take a few tokens in double precision, before anything
//! is narrowed, and their logits are held against each other.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::error::ConvertError;
use super::model::Model;
use super::progress::{Meter, Progress};
use super::reference;
use crate::checkpoint::ModelConfig;

/// As many as two convolutions of four taps, and enough for attention and states to remember something.
const TOKENS: u32 = 8;

/// What a changed model is compared with.
#[derive(Debug)]
pub(super) struct Probe {
    /// The source.
    pub(super) directory: PathBuf,
    pub(super) original: Model,
    /// By how much a logit may differ.
    pub(super) tolerance: f64,
}

impl Probe {
    /// Bytes that are read to compare `changed`.
    pub(super) fn bytes(&self, changed: &Model) -> u64 {
        reference::bytes(&self.original) + reference::bytes(changed)
    }

    /// By how much a logit differs at most, if that is within the tolerance.
    pub(super) fn run(
        &self,
        changed: &Model,
        meter: &Meter<impl FnMut(Progress<'_>) -> ControlFlow<()> + Send>,
    ) -> Result<f64, ConvertError> {
        let tokens = tokens(&self.original.config);
        // Side by side: while one waits for its file, the other computes.
        let (original, changed) = rayon::join(
            || reference::logits(&self.original, &tokens, meter),
            || reference::logits(changed, &tokens, meter),
        );
        let difference = original?.largest_difference(&changed?);
        // What is no number is not within anything.
        if difference <= self.tolerance {
            return Ok(difference);
        }
        Err(ConvertError::LogitsDiffer { directory: self.directory.clone(), difference, tolerance: self.tolerance })
    }
}

/// Tokens from all over the vocabulary, without a pattern: multiples of the golden ratio.
fn tokens(config: &ModelConfig) -> Vec<u32> {
    let share = |index: u32| u64::from(index.wrapping_mul(0x9e37_79b9));
    (1..=TOKENS).map(|index| ((share(index) * config.vocab_size as u64) >> 32) as u32).collect()
}
