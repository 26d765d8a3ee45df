//! `out[m, n] = Σ_k x[m, k] · weights[n, k]`: every projection of the model, with weights in their storage type.
//!
//! 1. Each sum is kept in sixteen lanes: lane `l` adds the products of `k = l, l + 16, l + 32, …` in this order, with
//!    fused multiply-adds; missing products at the end count as zero.
//! 2. At the end the lanes are added as a tree: halves onto each other until one is left.
//!
//! So a result depends on its own row of `x` and its own row of weights and on nothing else: not on the other rows, the
//! tiling, or the threads. What follows is about speed and leaves that order alone:
//!
//! 3. Several rows of weights are multiplied at once, since one sum alone would wait for each addition ([`tile`]).
//! 4. Few rows of `x`, as in decoding: weights are widened to f32 in registers as they stream by. What limits is
//!    memory ([`stream`]).
//! 5. Many rows, as in reading a prompt: a block of weights is widened once into memory that stays in the cache, and
//!    reused for all rows. What limits is multiplying ([`blocked`]).

mod blocked;
mod stream;
#[cfg(test)]
mod tests;
mod tile;

use std::cell::Cell;
use std::ops::Range;

use half::{bf16, f16};

use super::isa::Isa;
use super::matmul_q4::{self, Activations, Panels};
use super::pool;
use super::split::{self, Disjoint};
use crate::quant::{BLOCK_LEN, Block};
use crate::tally;
use crate::world::activations::Rows;

/// A matrix in its storage type, row-major.
#[derive(Clone, Copy, Debug)]
pub enum WeightSlice<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// The upper half of single precision.
    Bf16(&'a [bf16]),
    /// Four bits: `len` weights from the flat index `first` of a tensor on, which may lie within a block.
    Q4 {
        /// All blocks of the tensor.
        blocks: &'a [Block],
        /// The first weight.
        first: usize,
        /// How many.
        len: usize,
    },
}

impl<'a> WeightSlice<'a> {
    /// The number of weights.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
            Self::Bf16(weights) => weights.len(),
            Self::Q4 { len, .. } => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the weights.
    ///
    /// # Panics
    /// If there are no such weights.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> WeightSlice<'a> {
        match self {
            Self::F32(weights) => WeightSlice::F32(&weights[range]),
            Self::F16(weights) => WeightSlice::F16(&weights[range]),
            Self::Bf16(weights) => WeightSlice::Bf16(&weights[range]),
            Self::Q4 { blocks, first, len } => {
                assert!(range.start <= range.end && range.end <= *len, "{range:?} of {len} weights");
                WeightSlice::Q4 { blocks, first: first + range.start, len: range.len() }
            }
        }
    }

    /// Bytes that the weights take.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::F32(weights) => size_of_val(*weights),
            Self::F16(weights) => size_of_val(*weights),
            Self::Bf16(weights) => size_of_val(*weights),
            Self::Q4 { len, .. } => len.div_ceil(BLOCK_LEN) * size_of::<Block>(),
        }
    }
}

/// A matrix, `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// In its storage type.
    Stored(WeightSlice<'a>),
    /// Of four bits, packed for the fast path.
    Packed(Panels<'a>),
}

impl Weights<'_> {
    /// The number of weights.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "matrices have rows")]
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(weights) => weights.len(),
            Self::Packed(panels) => panels.rows() * panels.cols(),
        }
    }

    /// Bytes that the weights take.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Stored(weights) => weights.size(),
            Self::Packed(panels) => panels.size(),
        }
    }
}

/// One product of a call: a matrix, and where its result goes.
pub struct Product<'a> {
    /// `[rows, cols]`
    pub weights: Weights<'a>,
    /// `[m, stride]`, of which the first `rows` columns are written.
    pub out: &'a mut [f32],
    /// From one row of `out` to the next.
    pub stride: usize,
}

impl<'a> Product<'a> {
    /// A product that fills `out`, `[m, rows]`.
    #[must_use]
    pub fn new(weights: Weights<'a>, out: &'a mut Rows) -> Self {
        let stride = out.width();
        Self { weights, out: out.values_mut(), stride }
    }
}

/// A product whose result several threads write, each its own columns.
pub(super) struct Shared<'a> {
    weights: Weights<'a>,
    pub(super) out: Disjoint<'a>,
    pub(super) stride: usize,
}

/// Work that pays for a thread's attention, in bytes of weights: some 10 µs of streaming.
const LEAST_BYTES: usize = 128 * 1024;

/// The rows of `x` up to which weights are widened in registers.
const FEW_ROWS: usize = 8;

/// Multiplies the rows of `x`, `[m, cols]`, with every product's weights. Several products of the same `x` share one
/// division of work among the threads of the current pool.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn matmul<const N: usize>(isa: Isa, x: &[f32], cols: usize, products: [Product<'_>; N]) {
    assert!(cols > 0 && x.len().is_multiple_of(cols), "{} values in rows of {cols}", x.len());
    let m = x.len() / cols;
    let products = products.map(|product| {
        let rows = product.weights.len() / cols;
        assert_eq!(product.weights.len(), rows * cols, "whole rows of {cols} weights");
        assert!(rows <= product.stride, "{rows} columns, {} apart", product.stride);
        assert!(m == 0 || product.out.len() >= (m - 1) * product.stride + rows, "room for {m} rows of {rows}");
        tally::add(product.weights.size() + (m * rows + x.len()) * size_of::<f32>(), 2 * m * rows * cols);
        Shared { weights: product.weights, out: Disjoint::new(product.out), stride: product.stride }
    });
    if m == 0 {
        return;
    }
    let tasks = divide(&products, cols, m);
    let mut rounded = ROUNDED.take();
    if products.iter().any(|product| matches!(product.weights, Weights::Packed(_))) {
        rounded.round(isa, x, cols);
    }
    let work = |task: &(&Shared<'_>, Range<usize>)| {
        let (product, rows) = task;
        match product.weights {
            Weights::Packed(panels) => matmul_q4::rows(isa, &rounded, panels, product, rows.clone()),
            // Weights in registers want whole vectors; blocks come in other sizes.
            Weights::Stored(weights) if m <= FEW_ROWS && !matches!(weights, WeightSlice::Q4 { .. }) => {
                stream::rows(isa, x, cols, weights, product, rows.clone())
            }
            Weights::Stored(weights) => blocked::rows(isa, x, cols, weights, product, rows.clone()),
        }
    };
    if tasks.len() == 1 || pool::threads() == 1 {
        tasks.iter().for_each(work);
    } else {
        split::each(tasks.len(), |index| work(&tasks[index]));
    }
    ROUNDED.set(rounded);
}

thread_local! {
    /// Kept, since those of a prompt are large enough that memory for them would come from the system each time.
    static ROUNDED: Cell<Activations> = Cell::default();
}

/// Cuts the rows of all products into tasks: enough of them that a thread held up by a neighbour does not hold up the
/// others, none too small to pay.
fn divide<'a, 'b>(products: &'a [Shared<'b>], cols: usize, m: usize) -> Vec<(&'a Shared<'b>, Range<usize>)> {
    let bytes: usize = products.iter().map(|product| product.weights.size()).sum();
    // A block of weights meets all rows of x before the next one comes.
    let work = if m <= FEW_ROWS { bytes } else { bytes.saturating_mul(m) };
    let pieces = (work / LEAST_BYTES).clamp(1, 8 * pool::threads());
    let mut tasks = Vec::with_capacity(pieces + products.len());
    for product in products {
        let rows = product.weights.len() / cols;
        let share = (product.weights.size() * pieces).div_ceil(bytes.max(1)).max(1);
        let step = rows.div_ceil(share).max(1).next_multiple_of(blocked::BLOCK_ROWS);
        tasks.extend((0..rows).step_by(step).map(|start| (product, start..rows.min(start + step))));
    }
    tasks
}
