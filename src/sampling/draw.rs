//! Chance: one random number picks among the candidates.

#![forbid(unsafe_code)]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::filters::Candidate;

/// Random numbers that depend on nothing but their seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// Those of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The seed of its stream, and how many words of 32 bits it has given of that.
    pub(crate) fn place(&self) -> ([u8; 32], u64) {
        // Two words a token: no sequence comes to where the upper half of the count begins.
        (self.0.get_seed(), self.0.get_word_pos() as u64)
    }

    /// That at a [`place`](Self::place).
    pub(crate) fn at(seed: [u8; 32], word: u64) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        random.set_word_pos(word.into());
        Self(random)
    }

    /// One of the 2⁵³ numbers of equal distance in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Picks a candidate as often as its weight says. `None` if none has any.
pub(super) fn draw(random: &mut Random, candidates: &[Candidate]) -> Option<u32> {
    let total: f64 = candidates.iter().map(|&(_, weight)| f64::from(weight)).sum();
    let mut left = random.unit() * total;
    for &(id, weight) in candidates {
        left -= f64::from(weight);
        if left < 0.0 {
            return Some(id);
        }
    }
    // Rounding can leave a hair of `left` after the last one.
    candidates.iter().rev().find(|&&(_, weight)| weight > 0.0).map(|&(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_from_their_place() {
        let mut random = Random::new(7);
        for _ in 0..100 {
            let (seed, word) = random.place();
            let mut other = Random::at(seed, word);
            assert_eq!(other, random);
            assert_eq!(other.unit().to_bits(), random.unit().to_bits());
        }
    }
}
