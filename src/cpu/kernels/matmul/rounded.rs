//! Rows of `x` rounded as the fast paths read them.

use super::super::isa::Isa;
use super::super::matmul_brain::Brains;
use super::super::matmul_packed::Activations;
use super::Product;
use super::weights::Weights;

/// The rows of a group.
#[derive(Default)]
pub(super) struct Rounded {
    /// To eight bits, for packed weights.
    pub(super) codes: Activations,
    /// To BF16, for weights in BF16.
    pub(super) brains: Brains,
}

impl Rounded {
    /// Rounds the rows of `x`, `[rows, cols]`, in each way that one of `products` needs.
    pub(super) fn round(&mut self, isa: Isa, x: &[f32], cols: usize, products: &[Product<'_>]) {
        if products.iter().any(|product| matches!(product.weights, Weights::Packed(_))) {
            self.codes.round(isa, x, cols);
        }
        if products.iter().any(|product| matches!(product.weights, Weights::Brain(_))) {
            self.brains.round(isa, x, cols);
        }
    }
}
