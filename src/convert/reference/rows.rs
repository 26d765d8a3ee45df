//! Activations: a row for each token.

use super::dot;

/// `[tokens, width]`
#[derive(Clone, Debug)]
pub(in crate::convert) struct Rows {
    pub(super) width: usize,
    pub(super) values: Vec<f64>,
}

impl Rows {
    pub(super) fn zeros(tokens: usize, width: usize) -> Self {
        Self { width, values: vec![0.0; tokens * width] }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    pub(super) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.width)
    }

    pub(super) fn row(&self, token: usize) -> &[f64] {
        &self.values[token * self.width..][..self.width]
    }

    pub(super) fn row_mut(&mut self, token: usize) -> &mut [f64] {
        &mut self.values[token * self.width..][..self.width]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(to, from)| *to += from);
    }

    /// Each row by its root mean square, times `weight`.
    pub(super) fn normed(&self, weight: &[f64], eps: f64) -> Self {
        let mut normed = self.clone();
        normed.iter_mut().for_each(|row| norm(row, weight, eps));
        normed
    }

    /// By how much elements differ at most; infinite or not a number where one of them is.
    pub(in crate::convert) fn largest_difference(&self, other: &Self) -> f64 {
        let differences = self.values.iter().zip(&other.values).map(|(a, b)| (a - b).abs());
        // `f64::max` would pass over what is no number.
        differences.fold(0.0, |most, difference| if difference <= most { most } else { difference })
    }
}

/// Divides by the root mean square, and multiplies with `weight`.
pub(super) fn norm(values: &mut [f64], weight: &[f64], eps: f64) {
    let mean = dot(values, values) / values.len() as f64;
    let inverse = 1.0 / (mean + eps).sqrt();
    values.iter_mut().zip(weight).for_each(|(value, weight)| *value *= inverse * weight);
}
