//! Rotary positions on the first dimensions of every head (`Qwen3_5TextRotaryEmbedding` and `apply_rotary_pos_emb` in
//! transformers' models/qwen3_5). For text the three position grids of the source coincide.
//!
//! 1. `angle = position * inverse[i]`, rounded to `f32`; its cosine and sine are exact to working precision.
//! 2. Both are multiplied by one factor, which is 1 unless frequencies are scaled.
//! 3. Dimension `i` rotates with dimension `i + rotary_dim / 2`: `x cos - y sin` and `y cos + x sin`.
//!
//! The roundings matter: at position 262,144 a frequency that is off by one unit in the last place turns the fastest
//! dimensions by a hundredth of a radian.

use super::isa::Isa;
use super::simd::per_isa;
use super::split;
use crate::tally;

/// The frequencies of a model's rotary dimensions.
#[derive(Clone, Debug)]
pub struct RopeTable {
    inverse: Vec<f32>,
    factor: f32,
}

/// Cosines and sines of some positions, shared by all layers: `[rows, rotary_dim / 2]` each.
#[derive(Clone, Debug, Default)]
pub struct RopeAngles {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// That of these frequencies, one for each pair of rotary dimensions. Cosines and sines are multiplied by `factor`.
    #[must_use]
    pub fn new(inverse: Vec<f32>, factor: f32) -> Self {
        Self { inverse, factor }
    }

    /// The angles of one position for each row, made once for all layers.
    #[must_use]
    pub fn angles(&self, positions: &[u32]) -> RopeAngles {
        let count = positions.len() * self.inverse.len();
        let mut angles =
            RopeAngles { half: self.inverse.len(), cos: Vec::with_capacity(count), sin: Vec::with_capacity(count) };
        for &position in positions {
            for inverse in &self.inverse {
                let (sin, cos) = f64::from(position as f32 * inverse).sin_cos();
                angles.cos.push(cos as f32 * self.factor);
                angles.sin.push(sin as f32 * self.factor);
            }
        }
        angles
    }
}

impl RopeAngles {
    /// The cosines and the sines of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> [&[f32]; 2] {
        [&self.cos, &self.sin].map(|values| &values[row * self.half..(row + 1) * self.half])
    }
}

/// Rotates the first dimensions of every head of `x` `[rows, heads, head_dim]` in place, row `i` by row `i` of
/// `angles`.
///
/// # Panics
///
/// Where `x` has another number of rows than `angles`, or heads are smaller than the rotary dimensions.
pub fn rope(isa: Isa, x: &mut [f32], heads: usize, head_dim: usize, angles: &RopeAngles) {
    let (half, width) = (angles.half, heads * head_dim);
    assert!(2 * half <= head_dim, "{} rotary dimensions of {head_dim}", 2 * half);
    assert_eq!(x.len() * half, angles.cos.len() * width, "a row of angles for each row");
    if half == 0 || width == 0 {
        return;
    }
    let rotated = angles.cos.len() * 2 * heads;
    tally::add((2 * rotated + 2 * angles.cos.len()) * size_of::<f32>(), 3 * rotated);
    split::rows(x, width, |first, x| {
        let rows = first * half..(first + x.len() / width) * half;
        let (cos, sin) = (&angles.cos[rows.clone()], &angles.sin[rows]);
        rotate_rows(isa, x, head_dim, width, half, cos, sin);
    });
}

per_isa! {
    fn rotate_rows(
        _simd, x: &mut [f32], head_dim: usize, width: usize, half: usize, cos: &[f32], sin: &[f32],
    ) {
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        for (x, (cos, sin)) in x.chunks_exact_mut(width).zip(angles) {
            for head in x.chunks_exact_mut(head_dim) {
                let (low, high) = head[..2 * half].split_at_mut(half);
                for i in 0..half {
                    let (x, y) = (low[i], high[i]);
                    low[i] = x * cos[i] - y * sin[i];
                    high[i] = y * cos[i] + x * sin[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    /// Frequencies that fall as those of models do.
    fn table(base: f32, rotary_dim: usize) -> RopeTable {
        let inverse = (0..rotary_dim).step_by(2).map(|i| base.powf(-(i as f32) / rotary_dim as f32));
        RopeTable::new(inverse.collect(), 1.0)
    }

    proptest! {
        #[test]
        fn agrees_with_f64_on_every_isa(
            rows in 0..5_usize, heads in 1..5_usize, half in 0..20_usize, rest in 1..9_usize,
            start in 0..262_144_u32, seed: u64,
        ) {
            let head_dim = 2 * half + rest;
            let table = table(1e6, 2 * half);
            let positions: Vec<u32> = (start..).take(rows).collect();
            let x = noise(seed, rows * heads * head_dim);
            let mut exact: Vec<f64> = x.iter().map(|&x| x.into()).collect();
            for (row, exact) in exact.chunks_mut(heads * head_dim).enumerate() {
                for head in exact.chunks_mut(head_dim) {
                    for i in 0..half {
                        let angle = f64::from(positions[row] as f32 * table.inverse[i]);
                        let (x, y) = (head[i], head[i + half]);
                        head[i] = x * angle.cos() - y * angle.sin();
                        head[i + half] = y * angle.cos() + x * angle.sin();
                    }
                }
            }
            let angles = table.angles(&positions);
            let mut scalar = x.clone();
            rope(Isa::SCALAR, &mut scalar, heads, head_dim, &angles);
            assert_close(&scalar, &exact, 3e-7);
            for isa in Isa::available() {
                let mut out = x.clone();
                rope(isa, &mut out, heads, head_dim, &angles);
                assert_same_bits(&out, &scalar);
            }
        }
    }

    #[test]
    fn threads_and_splits_change_nothing() {
        let (rows, heads, head_dim) = (50, 8, 256);
        let x = noise(3, rows * heads * head_dim);
        let table = table(1e7, 64);
        let whole = |threads| {
            let mut out = x.clone();
            let positions: Vec<u32> = (100..).take(rows).collect();
            on_threads(threads, || rope(Isa::widest(), &mut out, heads, head_dim, &table.angles(&positions)));
            out
        };
        let one = whole(1);
        assert_same_bits(&whole(3), &one);
        let mut parts = x.clone();
        for (row, part) in parts.chunks_mut(heads * head_dim).enumerate() {
            rope(Isa::widest(), part, heads, head_dim, &table.angles(&[100 + row as u32]));
        }
        assert_same_bits(&parts, &one);
    }

    #[test]
    fn cosines_and_sines_are_multiplied_by_the_factor() {
        let plain = table(1e4, 8);
        let scaled = RopeTable { factor: 1.25, ..plain.clone() };
        let [plain, scaled] = [plain, scaled].map(|table| table.angles(&[0, 7]).row(1).concat());
        let expected: Vec<f32> = plain.iter().map(|value| value * 1.25).collect();
        assert_same_bits(&scaled, &expected);
    }
}
