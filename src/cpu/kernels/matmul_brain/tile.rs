//! Rows of `x` against rows of weights, which are read where they lie.
//!
//! What limits few rows of `x`, as in decoding, is memory. What limits many is the products, one a cycle at best:
//! 1. A tile of 6 rows of `x` and 4 of weights needs 10 loads for 24 products.
//! 2. The 6 rows of `x` stay in the first-level cache while all weights of a block pass by, which come from the
//!    second. Where rows are longer than [`CHUNK_LINES`], they are taken in chunks, and unfinished sums wait in memory.
//! 3. Sums are finished sixteen at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use super::super::columns::Columns;
use super::super::isa::{Isa, Level};
use super::super::matmul::write;
use super::super::simd::{Avx512, Line, Simd};
use super::super::split::with_scratch;
use super::brains::{BrainLine, Brains, IN_LINE};

/// Rows of weights that meet all rows of `x` before the next ones come: 229 kB where rows have 3584 columns, an eighth of a
/// second-level cache.
const BLOCK_ROWS: usize = 32;

/// Rows of `x` up to which there is no block of weights, since memory is slower than all that is done with them.
const FEW_ROWS: usize = 8;

/// Lines in a chunk: 6 rows of `x` take 24 kB, half a first-level cache.
const CHUNK_LINES: usize = 64;

/// Vectors of unfinished sums: at most as many as a block has tiles of 6 by 4.
const UNFINISHED: usize = 6 * BLOCK_ROWS;

/// Fills a product of all rows of `x` and all weights.
///
/// # Panics
/// If the instruction set has no products of BF16.
pub(in super::super) fn rows(isa: Isa, x: &Brains, weights: &[bf16], out: &mut Columns<'_>) {
    let Level::Avx512Bf16 = isa.0 else { panic!("{isa} has no products of BF16") };
    with_scratch(UNFINISHED, |unfinished| {
        // SAFETY: an `Isa` of this level is only made where all of these features were detected.
        unsafe { all_rows(Dot(Avx512::assume()), x, weights, out, unfinished) }
    });
}

/// The proof that AVX-512 BF16 was detected, besides F and DQ.
#[derive(Clone, Copy)]
struct Dot(Avx512);

impl Dot {
    #[inline(always)]
    fn load(self, from: &[bf16; IN_LINE]) -> __m512bh {
        // SAFETY: `self` proves AVX-512, the array has 64 bytes to be read, and both types are 32 numbers of any bits.
        unsafe { std::mem::transmute(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    /// The first numbers of a vector, the others zero.
    #[inline(always)]
    fn load_part(self, from: &[bf16]) -> __m512bh {
        let mut line = [bf16::ZERO; IN_LINE];
        line[..from.len()].copy_from_slice(from);
        self.load(&line)
    }

    /// Adds to each lane the products of its two numbers of `a` and of `b`.
    #[inline(always)]
    fn add_products(self, sums: Sums, a: __m512bh, b: __m512bh) -> Sums {
        // SAFETY: `self` proves AVX-512 BF16.
        self.0.whole(unsafe { _mm512_dpbf16_ps(sums.register(), a, b) })
    }
}

/// A sum in each lane.
type Sums = <Avx512 as Simd>::V;

#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn all_rows(dot: Dot, x: &Brains, weights: &[bf16], out: &mut Columns<'_>, unfinished: &mut [Line]) {
    match x.rows() {
        1 => tiles::<1, 8>(dot, x, weights, out, unfinished),
        2 => tiles::<2, 6>(dot, x, weights, out, unfinished),
        3 | 4 => tiles::<4, 4>(dot, x, weights, out, unfinished),
        5..=FEW_ROWS => tiles::<8, 3>(dot, x, weights, out, unfinished),
        _ => tiles::<6, 4>(dot, x, weights, out, unfinished),
    }
}

#[inline(always)]
fn tiles<const M: usize, const N: usize>(
    dot: Dot,
    x: &Brains,
    weights: &[bf16],
    out: &mut Columns<'_>,
    unfinished: &mut [Line],
) {
    let rows = out.width();
    let step = if x.rows() <= FEW_ROWS { N } else { BLOCK_ROWS };
    for first in (0..rows).step_by(step) {
        let block = first..rows.min(first + step);
        for start in (0..x.rows()).step_by(M) {
            meet::<M, N>(dot, x, start, weights, block.clone(), out, unfinished);
        }
    }
}

/// `M` rows of `x` from `start` on meet a block of rows of weights.
#[inline(always)]
fn meet<const M: usize, const N: usize>(
    dot: Dot,
    x: &Brains,
    start: usize,
    weights: &[bf16],
    block: Range<usize>,
    out: &mut Columns<'_>,
    unfinished: &mut [Line],
) {
    let (simd, cols) = (dot.0, x.cols());
    let x: [&[BrainLine]; M] = rows_from(start, x.rows(), |row| x.row(row));
    // The rows of the next tile lie right behind these.
    let ahead = (start == 0).then_some(N * cols);
    for chunk in (0..cols).step_by(CHUNK_LINES * IN_LINE) {
        let chunk = chunk..cols.min(chunk + CHUNK_LINES * IN_LINE);
        let lines = chunk.start / IN_LINE..chunk.end.div_ceil(IN_LINE);
        for (first, saved) in block.clone().step_by(N).zip(unfinished.chunks_exact_mut(M * N)) {
            let w = rows_from(first, block.end, |row| &weights[row * cols..][chunk.clone()]);
            let mut tile = [[simd.splat(0.0); N]; M];
            if chunk.start > 0 {
                for (sum, saved) in tile.as_flattened_mut().iter_mut().zip(&*saved) {
                    *sum = simd.load(&saved.0);
                }
            }
            multiply(dot, x.map(|row| &row[lines.clone()]), w, &mut tile, ahead);
            if chunk.end < cols {
                for (sum, saved) in tile.as_flattened().iter().zip(saved) {
                    simd.store(*sum, &mut saved.0);
                }
                continue;
            }
            write(simd, &tile, out, start, first..block.end.min(first + N));
        }
    }
}

/// `N` rows from `first` on; those past `end` repeat the last one: their sums are dropped.
#[inline(always)]
fn rows_from<'a, T, const N: usize>(first: usize, end: usize, row: impl Fn(usize) -> &'a [T]) -> [&'a [T]; N] {
    std::array::from_fn(|n| row((first + n).min(end - 1)))
}

/// Adds to `sums` the products of `M` rows of `x` and `N` rows of weights. Weights that lie `ahead` of these are asked for
/// meanwhile.
///
/// # Panics
/// If rows differ in length.
#[inline(always)]
fn multiply<const M: usize, const N: usize>(
    dot: Dot,
    x: [&[BrainLine]; M],
    weights: [&[bf16]; N],
    sums: &mut [[Sums; N]; M],
    ahead: Option<usize>,
) {
    let cols = weights[0].len();
    let whole = cols / IN_LINE;
    assert!(x.iter().all(|row| row.len() == cols.div_ceil(IN_LINE)));
    assert!(weights.iter().all(|row| row.len() == cols));
    let mut tile = *sums;
    let mut w = [dot.load(&[bf16::ZERO; IN_LINE]); N];
    for k in 0..whole {
        for n in 0..N {
            // SAFETY: line `k` is a whole one of all rows, as asserted.
            w[n] = dot.load(unsafe { &*weights[n].as_ptr().add(k * IN_LINE).cast() });
        }
        if let Some(ahead) = ahead {
            for row in weights {
                dot.0.prefetch(row.as_ptr().wrapping_add(k * IN_LINE + ahead));
            }
        }
        for m in 0..M {
            // SAFETY: as above.
            let x = dot.load(&unsafe { x[m].get_unchecked(k) }.0);
            for n in 0..N {
                tile[m][n] = dot.add_products(tile[m][n], w[n], x);
            }
        }
    }
    if whole * IN_LINE < cols {
        for n in 0..N {
            w[n] = dot.load_part(&weights[n][whole * IN_LINE..]);
        }
        for m in 0..M {
            let x = dot.load(&x[m][whole].0);
            for n in 0..N {
                tile[m][n] = dot.add_products(tile[m][n], w[n], x);
            }
        }
    }
    *sums = tile;
}
