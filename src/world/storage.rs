//! Where a tensor lives. `DeltaNet<S>`, `Attention<S>` and `Mlp<S>` are written once; the storage `S` says what their
//! fields are: shapes only, checked bytes on disk, or a backend's own form.

use crate::checkpoint::Tensor;

/// A place tensors can live in. It has types only; what turns one storage into another is a [`MapTensors`].
pub trait Storage: Send + Sync + 'static {
    /// A weight matrix, `[output, input]`: what dominates memory and may be quantised.
    type Matrix: Send + Sync + 'static;
    /// A small tensor that keeps its precision: norms, biases, convolution taps.
    type Vector: Send + Sync + 'static;
    /// Activations, `[rows, width]`, a row for each token of the batch.
    type Rows: Send + Sync + 'static;
    /// Keys and values of a few positions: what a [`KvCache`](super::cache::KvCache) has a table of.
    type KvBlock: Clone + Send + Sync + 'static;
}

/// No values, only the shape each tensor must have: what a configuration promises.
#[derive(Clone, Copy, Debug)]
pub struct Shapes;

impl Storage for Shapes {
    type Matrix = Vec<usize>;
    type Vector = Vec<usize>;
    type Rows = ();
    type KvBlock = ();
}

/// Checked bytes in their storage type, usually a mapped file.
#[derive(Clone, Copy, Debug)]
pub struct Mapped;

impl Storage for Mapped {
    type Matrix = Tensor;
    type Vector = Tensor;
    type Rows = ();
    type KvBlock = ();
}

/// Turns the tensors of one storage into another's: loading is `Shapes → Mapped`, packing for a backend `Mapped → Cpu`.
///
/// Each struct of weights has one `map` that names its tensors and hands them to this.
pub trait MapTensors<From: Storage, To: Storage> {
    /// What can go wrong with a tensor.
    type Error;

    /// Turns a matrix; `name` is relative to the text model, e.g. `layers.0.mlp.up_proj.weight`.
    ///
    /// # Errors
    /// Whatever makes this tensor impossible to turn.
    fn matrix(&mut self, name: &str, matrix: &From::Matrix) -> Result<To::Matrix, Self::Error>;

    /// Turns a vector, as [`MapTensors::matrix`] does a matrix.
    ///
    /// # Errors
    /// Whatever makes this tensor impossible to turn.
    fn vector(&mut self, name: &str, vector: &From::Vector) -> Result<To::Vector, Self::Error>;
}
