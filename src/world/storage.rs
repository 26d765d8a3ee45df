//! Where a tensor lives. `DeltaNet<S>`, `Attention<S>` and `Mlp<S>` are written once; the storage `S` says what their
//! fields are: shapes only, checked bytes on disk, or a backend's own form.

use super::role::{MatrixRole, VectorRole};
use crate::checkpoint::Tensor;

/// A place tensors can live in. It has types only; what turns one storage into another is a [`MapTensors`].
pub trait Storage: Send + Sync + 'static {
    /// A weight matrix, `[output, input]`: what dominates memory and may be quantised.
    type Matrix: Send + Sync + 'static;
    /// A small tensor that keeps its precision: norms, biases, convolution taps.
    type Vector: Send + Sync + 'static;
    /// Activations, `[rows, width]`, a row for each token of the batch.
    type Rows: Send + Sync + 'static;
    /// A part of what a delta net remembers of a sequence; forks share it until one of them writes to it.
    type DeltaBlock: Send + Sync + 'static;
    /// Keys and values of a few positions: what a [`KvCache`](super::cache::KvCache) has a table of.
    type KvBlock: Clone + Send + Sync + 'static;
}

/// No values, only what each tensor must look like and mean: what a configuration promises.
#[derive(Clone, Copy, Debug)]
pub struct Shapes;

impl Storage for Shapes {
    type Matrix = Shape<MatrixRole>;
    type Vector = Shape<VectorRole>;
    type Rows = ();
    type DeltaBlock = ();
    type KvBlock = ();
}

/// A tensor that a configuration promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape<Role> {
    /// The dimensions, outermost first.
    pub dims: Vec<usize>,
    /// What it means.
    pub role: Role,
}

impl<Role> Shape<Role> {
    /// A tensor of these dimensions.
    pub fn new(dims: impl Into<Vec<usize>>, role: Role) -> Self {
        Self { dims: dims.into(), role }
    }
}

/// Checked bytes in their storage type, usually a mapped file.
#[derive(Clone, Copy, Debug)]
pub struct Mapped;

impl Storage for Mapped {
    type Matrix = Tensor;
    type Vector = StoredVector;
    type Rows = ();
    type DeltaBlock = ();
    type KvBlock = ();
}

/// A small tensor as a source has it.
#[derive(Clone, Debug)]
pub struct StoredVector {
    /// Its bytes.
    pub tensor: Tensor,
    /// What the source says they mean. It need not be what the configuration promises: some converters have put a norm's
    /// shift into its weights already.
    pub role: VectorRole,
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

    /// Turns a matrix of an expert, which most tokens do not read.
    ///
    /// # Errors
    /// Whatever makes this tensor impossible to turn.
    fn expert(&mut self, name: &str, matrix: &From::Matrix) -> Result<To::Matrix, Self::Error> {
        self.matrix(name, matrix)
    }

    /// Turns a vector, as [`MapTensors::matrix`] does a matrix.
    ///
    /// # Errors
    /// Whatever makes this tensor impossible to turn.
    fn vector(&mut self, name: &str, vector: &From::Vector) -> Result<To::Vector, Self::Error>;
}
