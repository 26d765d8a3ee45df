//! Whether a model's head is its embedding. The configuration says so, and the tensors may say otherwise: what is stored
//! counts, as for transformers.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::config::ModelConfig;
use super::error::CheckpointError;
use super::found::Entry;
use super::names::{EMBEDDING, HEAD, TensorNames};
use super::tensor::Tensor;

/// Sets `config.tie_word_embeddings` to false where a head is stored that is not the embedding, and says that the
/// configuration is wrong.
pub(super) fn untie(
    config: &mut ModelConfig,
    names: &TensorNames,
    tensors: &BTreeMap<String, Entry>,
) -> Option<CheckpointError> {
    let (embedding, head) = (names.full(EMBEDDING), names.full(HEAD));
    if !config.tie_word_embeddings || embedding == head {
        return None;
    }
    let stored = tensors.get(&head)?;
    if are_equal(tensors.get(&embedding)?, stored) {
        return None;
    }
    config.tie_word_embeddings = false;
    let expected = format!("the values of {embedding}, since tie_word_embeddings is true in config.json");
    Some(CheckpointError::tensor(stored.file(), &head, expected, "others, which are used as the head"))
}

/// Whether two tensors hold the same. One that cannot be read does not: whoever takes it will say why.
fn are_equal(first: &Entry, second: &Entry) -> bool {
    let (Ok(first), Ok(second)) = (first.unchecked(), second.unchecked()) else { return false };
    let same_shape = first.shape() == second.shape();
    same_shape
        && if first.element() == second.element() { same_bytes(&first, &second) } else { same_values(&first, &second) }
}

/// Elements that a thread takes at a time.
const RUN: usize = 1 << 16;

fn same_bytes(first: &Tensor, second: &Tensor) -> bool {
    first.bytes().par_chunks(RUN).zip(second.bytes().par_chunks(RUN)).all(|(first, second)| first == second)
}

fn same_values(first: &Tensor, second: &Tensor) -> bool {
    let runs = (0..first.len().div_ceil(RUN)).into_par_iter();
    runs.all(|run| {
        let start = run * RUN;
        let widened = |tensor: &Tensor| {
            let mut values = vec![0.0; RUN.min(tensor.len() - start)];
            tensor.element().widen(tensor.bytes(), start, &mut values);
            values
        };
        widened(first) == widened(second)
    })
}
