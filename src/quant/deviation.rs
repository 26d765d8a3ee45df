//! How far stored weights are from those they stand for.

use std::iter::Sum;

use super::block::{BLOCK_LEN, Block};
use super::encode::Weight;

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
        let of_block = |(weights, block): (&[W], &Block)| {
            let mut exact = [0.0; BLOCK_LEN];
            W::widen(weights, &mut exact);
            Self::of(&exact[..weights.len()], &block.weights()[..weights.len()])
        };
        weights.chunks(BLOCK_LEN).zip(blocks).map(of_block).sum()
    }

    /// That of `stored` from `weights`.
    #[must_use]
    pub fn of(weights: &[f32], stored: &[f32]) -> Self {
        // Differences and squares are summed in as many lanes as vector registers have room for.
        const LANES: usize = 8;
        let (mut errors, mut squares) = ([0.0f64; LANES], [0.0f64; LANES]);
        for (weights, stored) in weights.chunks(LANES).zip(stored.chunks(LANES)) {
            for (lane, (&weight, &stored)) in weights.iter().zip(stored).enumerate() {
                let (weight, error) = (f64::from(weight), f64::from(stored - weight));
                errors[lane] += error * error;
                squares[lane] += weight * weight;
            }
        }
        Self { squared_error: errors.iter().sum(), squared_weight: squares.iter().sum() }
    }

    /// The root of the mean squared error, as a share of the weights' own root mean square; 0 where nothing is off.
    #[must_use]
    pub fn relative_rms(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_weight).sqrt() }
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
