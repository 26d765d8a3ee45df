//! A model's weights as the forward pass asks for them: by place, after what is done to them.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::dot;
use super::parts::Place;
use super::rows::Rows;
use crate::checkpoint::{Piece, StoredTensor};
use crate::convert::change::{Change, Changed, read_vector};
use crate::convert::error::ConvertError;
use crate::convert::model::{Model, PlannedTensor};
use crate::convert::progress::{ConvertProgress, Meter};
use crate::world::promised::TensorRole;
use crate::world::role::MatrixRole;

/// Elements of a matrix to take at a time.
const PIECE: usize = 4 << 20;

/// Bytes that a forward pass reads: all matrices, but of an embedding that is no head only the tokens' rows.
pub(in crate::convert) fn bytes(model: &Model) -> u64 {
    let is_read = |tensor: &&PlannedTensor| {
        tensor.promised.is_matrix()
            && !tensor.promised.is_of_mtp()
            && (model.config.tie_word_embeddings || tensor.promised.role != TensorRole::Matrix(MatrixRole::Embeds))
    };
    model.tensors.iter().filter(is_read).map(|tensor| tensor.stored.size() as u64).sum()
}

pub(super) struct Weights<'a, F> {
    tensors: &'a [PlannedTensor],
    meter: &'a Meter<F>,
}

impl<'a, F: FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send> Weights<'a, F> {
    pub(super) fn of(model: &'a Model, meter: &'a Meter<F>) -> Self {
        Self { tensors: &model.tensors, meter }
    }

    /// All elements of a small tensor.
    pub(super) fn vector(&self, place: Place) -> Result<Vec<f64>, ConvertError> {
        let tensor = &self.tensors[place.0];
        let values = read_vector(&tensor.stored)?;
        Ok(if let Change::Fill(value) = tensor.change { vec![value; values.len()] } else { values })
    }

    /// What a norm multiplies by.
    pub(super) fn norm(&self, place: Place) -> Result<Vec<f64>, ConvertError> {
        let shift = match self.tensors[place.0].promised.role {
            TensorRole::Vector(role) => role.norm_shift().unwrap_or_default(),
            TensorRole::Matrix(_) => 0.0,
        };
        let mut weights = self.vector(place)?;
        weights.iter_mut().for_each(|weight| *weight += shift);
        Ok(weights)
    }

    /// The rows of the embedding that stand for `tokens`.
    pub(super) fn embed(&self, place: Place, tokens: &[u32]) -> Result<Rows, ConvertError> {
        let PlannedTensor { stored, change, .. } = &self.tensors[place.0];
        let mut rows = Rows::zeros(tokens.len(), columns(stored));
        for (row, &token) in rows.iter_mut().zip(tokens) {
            let mut piece = Piece::default();
            let first = token as usize * row.len();
            stored.open_at(first)?.read(&mut piece, row.len())?;
            change.apply(stored, first, &piece, &mut Vec::new())?.read(0, row);
        }
        Ok(rows)
    }

    /// `x · Wᵀ`, `[tokens, rows of W]`.
    pub(super) fn product(&self, place: Place, x: &Rows) -> Result<Rows, ConvertError> {
        let PlannedTensor { stored, change, name, .. } = &self.tensors[place.0];
        let width = columns(stored);
        let mut out = Rows::zeros(x.len(), stored.len() / width);
        let (mut piece, mut panels) = (Piece::default(), Vec::new());
        let mut reader = stored.open()?;
        let mut first = 0;
        loop {
            let whole_rows = (PIECE / width).max(1) * width;
            reader.read(&mut piece, change.piece_len(stored, whole_rows))?;
            if piece.is_empty() {
                return Ok(out);
            }
            multiply(&change.apply(stored, first, &piece, &mut panels)?, x, first / width, &mut out);
            first += piece.len();
            self.meter.advance(piece.size(), name)?;
        }
    }
}

fn columns(stored: &StoredTensor) -> usize {
    stored.shape().last().copied().unwrap_or(1)
}

/// Writes the products with some rows of a matrix, from row `first` on, to `out`.
fn multiply(matrix: &Changed<'_>, x: &Rows, first: usize, out: &mut Rows) {
    let rows = matrix.len() / x.width;
    let run = (matrix.run() / x.width).max(1);
    let mut products = vec![0.0; rows * x.len()];
    products.par_chunks_mut(run * x.len()).enumerate().for_each_init(Vec::new, |weights, (index, products)| {
        weights.resize(products.len() / x.len() * x.width, 0.0);
        matrix.read(index * run * x.width, weights);
        for (row, products) in weights.chunks_exact(x.width).zip(products.chunks_exact_mut(x.len())) {
            products.iter_mut().zip(x.iter()).for_each(|(product, x)| *product = dot(row, x));
        }
    });
    for (row, products) in products.chunks_exact(x.len()).enumerate() {
        out.iter_mut().zip(products).for_each(|(out, product)| out[first + row] = *product);
    }
}
