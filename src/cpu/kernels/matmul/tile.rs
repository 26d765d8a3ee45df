//! The inner loop: `M` rows of `x` against `N` rows of weights, `M · N` sums in registers.

use std::ops::Range;

use half::{bf16, f16};

use super::super::columns::Columns;
use super::super::simd::{LANES, Simd};

/// A type that weights are stored in, and how sixteen of them are widened.
pub(super) trait Element: Copy {
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V;
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load(from)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_bf16(from)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_f16(from)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}

/// The first weights of `from` widened, the other lanes zero.
#[inline(always)]
pub(super) fn load_part<S: Simd, W: Element>(simd: S, from: &[W]) -> S::V {
    let mut lanes = [0.0; LANES];
    for (lane, weight) in lanes.iter_mut().zip(from) {
        *lane = weight.to_f32();
    }
    simd.load(&lanes)
}

/// The columns `cols` of `N` rows from `first` on, of the first `count` rows of a matrix whose rows are `pitch` apart. Rows
/// past the end repeat the last one: their sums are dropped.
#[inline(always)]
pub(super) fn rows_from<T, const N: usize>(
    matrix: &[T],
    pitch: usize,
    first: usize,
    count: usize,
    cols: Range<usize>,
) -> [&[T]; N] {
    let mut rows = [&matrix[..0]; N];
    for (n, row) in rows.iter_mut().enumerate() {
        *row = &matrix[(first + n).min(count - 1) * pitch..][cols.clone()];
    }
    rows
}

/// Adds to `sums` the products of `M` rows of `x` and `N` rows of weights, over the columns that both have. Weights
/// that lie `ahead` of these are asked for meanwhile.
///
/// # Panics
/// If rows differ in length.
#[inline(always)]
pub(super) fn multiply<S: Simd, W: Element, const M: usize, const N: usize>(
    simd: S,
    x: [&[f32]; M],
    weights: [&[W]; N],
    sums: &mut [[S::V; N]; M],
    ahead: Option<usize>,
) {
    let cols = x[0].len();
    assert!(x.iter().all(|row| row.len() == cols) && weights.iter().all(|row| row.len() == cols));
    let mut tile = *sums;
    let mut w = [simd.splat(0.0); N];
    let whole = cols - cols % LANES;
    for k in (0..whole).step_by(LANES) {
        for n in 0..N {
            // SAFETY: `k + LANES <= cols`, which all rows have, as asserted.
            w[n] = W::load(simd, unsafe { &*weights[n].as_ptr().add(k).cast() });
        }
        if let Some(ahead) = ahead
            && (k * size_of::<W>()).is_multiple_of(64)
        {
            for row in weights {
                simd.prefetch(row.as_ptr().wrapping_add(k + ahead));
            }
        }
        for m in 0..M {
            // SAFETY: as above.
            let x = simd.load(unsafe { &*x[m].as_ptr().add(k).cast() });
            for n in 0..N {
                tile[m][n] = simd.fma(w[n], x, tile[m][n]);
            }
        }
    }
    if whole < cols {
        for n in 0..N {
            w[n] = load_part(simd, &weights[n][whole..]);
        }
        for m in 0..M {
            let x = simd.load_part(&x[m][whole..]);
            for n in 0..N {
                tile[m][n] = simd.fma(w[n], x, tile[m][n]);
            }
        }
    }
    *sums = tile;
}

/// Finishes the sums of a tile whose first row of `x` is `start`, and writes them to `columns` of the product.
#[inline(always)]
pub(in super::super) fn write<S: Simd, const M: usize, const N: usize>(
    simd: S,
    tile: &[[S::V; N]; M],
    out: &mut Columns<'_>,
    start: usize,
    columns: Range<usize>,
) {
    for (row, sums) in (start..out.rows()).zip(&finish(simd, tile)) {
        out.row(row, columns.clone()).copy_from_slice(&sums[..columns.len()]);
    }
}

/// The finished sums of a tile: `[m][n]`.
#[inline(always)]
fn finish<S: Simd, const M: usize, const N: usize>(simd: S, tile: &[[S::V; N]; M]) -> [[f32; N]; M] {
    let mut out = [[0.0; N]; M];
    let flat = tile.as_flattened();
    for (sums, out) in flat.chunks(LANES).zip(out.as_flattened_mut().chunks_mut(LANES)) {
        if sums.len() > LANES / 4 {
            let mut group = [simd.splat(0.0); LANES];
            group[..sums.len()].copy_from_slice(sums);
            let mut lanes = [0.0; LANES];
            simd.store(simd.sums(group), &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        } else {
            for (sum, out) in sums.iter().zip(out) {
                *out = simd.sum(*sum);
            }
        }
    }
    out
}
