//! The activations that cross from one set of systems to the next. Each is its own type, so that a system's signature
//! shows what flows in and out of it and the scheduler can order it. What only a mixer needs stays in its scratch.

use std::ops::Range;

use bevy_ecs::prelude::*;

use super::storage::Storage;

/// Activations in host memory, row-major `[rows, width]`.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// Makes it `[rows, width]`. The values are unspecified: whoever resizes writes them all.
    pub fn resize(&mut self, rows: usize, width: usize) {
        self.width = width;
        self.values.resize(rows * width, 0.0);
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many values a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to write.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        self.slice(index..index + 1)
    }

    /// The values of consecutive rows.
    ///
    /// # Panics
    /// If there are no such rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> &[f32] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }

    /// The values of consecutive rows, to write.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn slice_mut(&mut self, rows: Range<usize>) -> &mut [f32] {
        &mut self.values[rows.start * self.width..rows.end * self.width]
    }

    /// Each row, to write.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width.max(1))
    }
}

/// The residual stream, `[rows, hidden_size]`. Correct after `Embed`, after `Mixer` and after `Mlp`.
#[derive(Resource)]
pub struct Residual<S: Storage>(pub S::Rows);

/// The normalised residual that the next block reads, `[rows, hidden_size]`.
#[derive(Resource)]
pub struct Normed<S: Storage>(pub S::Rows);

/// `[Cursor::logit_rows, vocab_size]`, correct after `Head` once the cursor says so: see
/// [`HeadPiece::completes_logits`](super::cursor::HeadPiece::completes_logits).
#[derive(Resource)]
pub struct Logits<S: Storage>(pub S::Rows);
