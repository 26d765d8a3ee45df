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
mod rounded;
mod stream;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

use std::cell::Cell;

use super::columns::Columns;
use super::isa::Isa;
use super::{matmul_brain, matmul_packed, pool, split};
use crate::tally;
use rounded::Rounded;
#[cfg(target_arch = "x86_64")]
pub(super) use tile::write;
pub use weights::{WeightSlice, Weights};

/// One product of a call: a matrix, and where its result goes.
pub struct Product<'a> {
    /// `[rows, cols]`
    pub weights: Weights<'a>,
    /// `[m, stride]`, of which the first `rows` columns are written.
    pub out: &'a mut [f32],
    /// From one row of `out` to the next.
    pub stride: usize,
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
    matmul_each(isa, cols, [(x, products)]);
}

/// The same with several groups of rows, `[m, cols]` each, which share the division of work as well.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn matmul_each<'a, const N: usize>(
    isa: Isa,
    cols: usize,
    groups: impl IntoIterator<Item = (&'a [f32], [Product<'a>; N])>,
) {
    let mut rounded = ROUNDED.take();
    let mut jobs = Vec::new();
    for (x, products) in groups {
        assert!(cols > 0 && x.len().is_multiple_of(cols), "{} values in rows of {cols}", x.len());
        let m = x.len() / cols;
        for Product { weights, .. } in &products {
            let rows = weights.len() / cols;
            assert_eq!(weights.len(), rows * cols, "whole rows of {cols} weights");
            tally::add(weights.size() + (m * rows + x.len()) * size_of::<f32>(), 2 * m * rows * cols);
        }
        if m > 0 {
            let products = products.map(|product| Product { weights: product.weights.as_read_by(isa), ..product });
            let place = jobs.len() / N.max(1);
            if rounded.len() <= place {
                rounded.resize_with(place + 1, Rounded::default);
            }
            rounded[place].round(isa, x, cols, &products);
            jobs.extend(products.map(|product| Job { x, rounded: place, product }));
        }
    }
    let mut tasks = divide(jobs, cols);
    split::chunks(&mut tasks, 1, |_, tasks| {
        for Task { x, rounded: place, weights, out } in tasks {
            match *weights {
                Weights::Packed(panels) => matmul_packed::rows(isa, &rounded[*place].codes, panels, out),
                Weights::Brain(weights) => matmul_brain::rows(isa, &rounded[*place].brains, weights, out),
                // Weights in registers want whole vectors; blocks come in other sizes.
                Weights::Stored(weights)
                    if x.len() <= FEW_ROWS * cols && !matches!(weights, WeightSlice::Blocks { .. }) =>
                {
                    stream::rows(isa, x, cols, weights, out)
                }
                Weights::Stored(weights) => blocked::rows(isa, x, cols, weights, out),
            }
        }
    });
    ROUNDED.set(rounded);
}

thread_local! {
    /// Kept, since those of a prompt are large enough that memory for them would come from the system each time.
    static ROUNDED: Cell<Vec<Rounded>> = const { Cell::new(Vec::new()) };
}

/// A product of some rows.
struct Job<'a> {
    x: &'a [f32],
    /// Where `x` is among those that are rounded, if it is.
    rounded: usize,
    product: Product<'a>,
}

/// The rows of a matrix that one thread multiplies with, and the columns of the product that these give.
struct Task<'a> {
    x: &'a [f32],
    rounded: usize,
    weights: Weights<'a>,
    out: Columns<'a>,
}

/// Cuts the rows of all products into tasks: enough of them that a thread held up by a neighbour does not hold up the
/// others, none too small to pay.
fn divide(jobs: Vec<Job<'_>>, cols: usize) -> Vec<Task<'_>> {
    // A block of weights meets all rows of x before the next one comes.
    let work = |job: &Job<'_>| {
        let (bytes, m) = (job.product.weights.size(), job.x.len() / cols);
        if m <= FEW_ROWS { bytes } else { bytes.saturating_mul(m) }
    };
    let all = jobs.iter().map(work).fold(0, usize::saturating_add);
    let pieces = (all / LEAST_BYTES).clamp(1, 8 * pool::threads());
    let mut tasks = Vec::with_capacity(pieces + jobs.len());
    for job in jobs {
        let share = work(&job).saturating_mul(pieces).div_ceil(all.max(1)).max(1);
        let Job { x, rounded, product: Product { weights, out, stride } } = job;
        let rows = weights.len() / cols;
        let step = rows.div_ceil(share).max(1).next_multiple_of(blocked::BLOCK_ROWS);
        let mut columns = Columns::new(out, x.len() / cols, stride, rows);
        for start in (0..rows).step_by(step) {
            let out = columns.take(step);
            tasks.push(Task { x, rounded, weights: weights.rows(start..start + out.width(), cols), out });
        }
    }
    tasks
}
