//! How well models predict texts, and how far the predictions of one are from another's.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod command;
mod figures;
mod four_bits;
mod refusals;

use std::ops::ControlFlow;
use std::path::Path;

use loquent::perplexity::{Comparison, Perplexity, PerplexityError, Scorer, Windows};
use support::exact_world;

const UNTIED: &str = "tests/fixtures/untied-odd-f32";
const UNTIED_VOCAB: usize = 301;

/// The model in `folder` of this repository, by exact numerics. Errors call it by that path.
fn scorer(folder: &str) -> Scorer {
    Scorer::new(folder, exact_world(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)))
}

/// Measures in windows of a length and a stride.
fn measure(model: &mut Scorer, text: &[u32], (window, stride): (usize, usize)) -> Result<Perplexity, PerplexityError> {
    model.measure(text, Windows::new(window, stride)?, |_| ControlFlow::Continue(()))
}

/// The same of two models.
fn compare(
    first: &mut Scorer,
    second: &mut Scorer,
    text: &[u32],
    (window, stride): (usize, usize),
) -> Result<Comparison, PerplexityError> {
    Scorer::compare(first, second, text, Windows::new(window, stride)?, |_| ControlFlow::Continue(()))
}
