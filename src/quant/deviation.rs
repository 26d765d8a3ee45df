//! How far stored weights are from those they stand for.

use std::iter::Sum;

use half::f16;

use super::block::{BLOCK_LEN, Block};
use super::weight::Weight;

/// Sums over weights: of the squares of what is off, and of the squares of the weights themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// `Σ (stored − weight)²`
    pub squared_error: f64,
    /// `Σ weight²`
    pub squared_weight: f64,
}

impl Deviation {
    /// That of blocks from the weights they were made of.
    #[must_use]
    pub fn of_blocks<W: Weight>(weights: &[W], blocks: &[Block]) -> Self {
        let mut sums = Sums::default();
        for (weights, block) in weights.chunks(BLOCK_LEN).zip(blocks) {
            let (mut exact, mut stored) = ([0.0; BLOCK_LEN], block.weights());
            W::widen(weights, &mut exact);
            stored[weights.len()..].fill(0.0);
            sums.add(&exact, &stored);
        }
        sums.total()
    }

    /// That of halves from the weights they were made of.
    #[must_use]
    pub fn of_halves(weights: &[f32], halves: &[f16]) -> Self {
        let mut sums = Sums::default();
        for (weights, halves) in weights.chunks(BLOCK_LEN).zip(halves.chunks(BLOCK_LEN)) {
            let (mut exact, mut stored) = ([0.0; BLOCK_LEN], [0.0; BLOCK_LEN]);
            f32::widen(weights, &mut exact);
            f16::widen(halves, &mut stored);
            sums.add(&exact, &stored);
        }
        sums.total()
    }

    /// The root of the mean squared error, as a share of the weights' own root mean square; 0 where nothing is off.
    #[must_use]
    pub fn relative_rms(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_weight).sqrt() }
    }
}

/// As many as four vector registers hold, so that additions need not wait for one another.
const LANES: usize = 8;

/// Both sums in lanes.
#[derive(Default)]
struct Sums {
    errors: [f64; LANES],
    squares: [f64; LANES],
}

impl Sums {
    fn add(&mut self, weights: &[f32; BLOCK_LEN], stored: &[f32; BLOCK_LEN]) {
        let (weights, stored) = (weights.as_chunks::<LANES>().0, stored.as_chunks::<LANES>().0);
        for (weights, stored) in weights.iter().zip(stored) {
            for lane in 0..LANES {
                let (weight, error) = (f64::from(weights[lane]), f64::from(stored[lane] - weights[lane]));
                self.errors[lane] += error * error;
                self.squares[lane] += weight * weight;
            }
        }
    }

    fn total(&self) -> Deviation {
        Deviation { squared_error: self.errors.iter().sum(), squared_weight: self.squares.iter().sum() }
    }
}

impl Sum for Deviation {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            squared_error: sum.squared_error + one.squared_error,
            squared_weight: sum.squared_weight + one.squared_weight,
        })
    }
}
