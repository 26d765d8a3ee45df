//! Whether a changed model computes what the original does: both take a few tokens in double precision, before anything
//! is narrowed, and their logits are held against each other.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::error::ConvertError;
use super::model::Model;
use super::progress::{ConvertProgress, Meter};
use super::reference::{self, Experts};
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
        meter: &Meter<impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
    ) -> Result<f64, ConvertError> {
        let tokens = tokens(&self.original.config);
        // Side by side: while one waits for its file, the other computes.
        let (original, changed) = rayon::join(
            || reference::logits(&self.original, &tokens, Experts::All, meter),
            || reference::logits(changed, &tokens, Experts::All, meter),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::change::Change;
    use super::super::options::QuaRot;
    use super::super::quarot;
    use super::*;
    use crate::checkpoint::Checkpoint;

    fn rotated(fixture: &str) -> (Probe, Model) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let mut checkpoint = Checkpoint::open_weights(&directory).unwrap();
        let original = Model::stored(&mut checkpoint).unwrap();
        let quarot = QuaRot::default();
        let changed = quarot::rotated(&original, &checkpoint, &directory, quarot).unwrap();
        (Probe { directory, original, tolerance: quarot.tolerance }, changed)
    }

    fn run(probe: &Probe, changed: &Model) -> Result<f64, ConvertError> {
        probe.run(changed, &Meter::new(0, |_| ControlFlow::Continue(())))
    }

    /// Of each kind of norm, one is tied, the other is not.
    const FIXTURES: [&str; 5] = ["published-f16", "sharded-bf16", "qwen3-tied", "llama-scaled", "moe-published"];

    #[test]
    fn a_rotated_model_computes_what_the_original_does() {
        for fixture in FIXTURES {
            let (probe, changed) = rotated(fixture);
            let difference = run(&probe, &changed).unwrap();
            assert!(difference > 0.0 && difference < 1e-11, "{fixture}: {difference}");
        }
    }

    #[test]
    fn it_is_seen_if_a_single_tensor_is_not_changed() {
        for fixture in FIXTURES {
            let (probe, mut changed) = rotated(fixture);
            let mut checked = 0;
            for index in 0..changed.tensors.len() {
                let tensor = &mut changed.tensors[index];
                let name = tensor.name.clone();
                let change = std::mem::replace(&mut tensor.change, Change::Keep);
                if !matches!(change, Change::Keep) {
                    let error = run(&probe, &changed).expect_err(&name);
                    assert!(matches!(error, ConvertError::LogitsDiffer { .. }), "{name}: {error}");
                    checked += 1;
                }
                changed.tensors[index].change = change;
            }
            assert!(checked >= 30, "{fixture}: {checked}");
            run(&probe, &changed).unwrap();
        }
    }

    #[test]
    fn it_is_seen_if_a_norm_is_lost() {
        let (probe, mut changed) = rotated("sharded-bf16");
        for index in 0..changed.tensors.len() {
            let Change::RotateRows { norm, .. } = &mut changed.tensors[index].change else { continue };
            let Some(stored) = norm.take() else { continue };
            let name = changed.tensors[index].name.clone();
            run(&probe, &changed).expect_err(&name);
            let Change::RotateRows { norm, .. } = &mut changed.tensors[index].change else { unreachable!() };
            *norm = Some(stored);
        }
        run(&probe, &changed).unwrap();
    }

    #[test]
    fn it_is_seen_if_the_embedding_is_taken_for_the_head() {
        let (probe, mut changed) = rotated("published-f16");
        changed.config.tie_word_embeddings = true;
        assert!(matches!(run(&probe, &changed), Err(ConvertError::LogitsDiffer { .. })));
    }
}
