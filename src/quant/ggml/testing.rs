//! Blocks of any bytes, for tests.

use half::f16;
use rand::{Rng, SeedableRng};

use super::*;
use crate::quant::Blocks;

/// Blocks of one type.
#[derive(Clone, Debug)]
pub(crate) enum AnyBlocks {
    Q4_0(Vec<BlockQ4_0>),
    Q4_1(Vec<BlockQ4_1>),
    Q8_0(Vec<BlockQ8_0>),
    Q4K(Vec<BlockQ4K>),
    Q5K(Vec<BlockQ5K>),
    Q6K(Vec<BlockQ6K>),
}

impl AnyBlocks {
    /// How many types there are.
    pub(crate) const KINDS: usize = 6;

    /// As many as `len` weights need, with any codes and small scales, and scales of both signs.
    pub(crate) fn random(kind: usize, seed: u64, len: usize) -> Self {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        // Weights of about ±1: the largest scale times the largest code is 63 · 31, and 127 · 32.
        let mut half = move |size: f32| f16::from_f32(size * (2.0 * random.random::<f32>() - 1.0));
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(!seed);
        let many = |block: usize| 0..len.div_ceil(block);
        match kind {
            0 => Self::Q4_0(many(32).map(|_| BlockQ4_0 { d: half(0.12), qs: random.random() }).collect()),
            1 => Self::Q4_1(many(32).map(|_| BlockQ4_1 { d: half(0.06), m: half(1.0), qs: random.random() }).collect()),
            2 => Self::Q8_0(many(32).map(|_| BlockQ8_0 { d: half(0.01), qs: random.random() }).collect()),
            3 => Self::Q4K(
                many(256)
                    .map(|_| {
                        let mut qs = [0; 128];
                        random.fill(&mut qs);
                        BlockQ4K { d: half(1e-3), dmin: half(0.016), scales: random.random(), qs }
                    })
                    .collect(),
            ),
            4 => Self::Q5K(
                many(256)
                    .map(|_| {
                        let mut qs = [0; 128];
                        random.fill(&mut qs);
                        BlockQ5K { d: half(5e-4), dmin: half(0.016), scales: random.random(), qh: random.random(), qs }
                    })
                    .collect(),
            ),
            _ => Self::Q6K(
                many(256)
                    .map(|_| {
                        let (mut ql, mut qh) = ([0; 128], [0; 64]);
                        random.fill(&mut ql);
                        random.fill(&mut qh);
                        BlockQ6K { ql, qh, scales: random.random(), d: half(2.4e-4) }
                    })
                    .collect(),
            ),
        }
    }

    pub(crate) fn blocks(&self) -> Blocks<'_> {
        match self {
            Self::Q4_0(blocks) => Blocks::Q4_0(blocks),
            Self::Q4_1(blocks) => Blocks::Q4_1(blocks),
            Self::Q8_0(blocks) => Blocks::Q8_0(blocks),
            Self::Q4K(blocks) => Blocks::Q4K(blocks),
            Self::Q5K(blocks) => Blocks::Q5K(blocks),
            Self::Q6K(blocks) => Blocks::Q6K(blocks),
        }
    }

    /// All bytes, as a file has them.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Q4_0(blocks) => bytemuck::cast_slice(blocks),
            Self::Q4_1(blocks) => bytemuck::cast_slice(blocks),
            Self::Q8_0(blocks) => bytemuck::cast_slice(blocks),
            Self::Q4K(blocks) => bytemuck::cast_slice(blocks),
            Self::Q5K(blocks) => bytemuck::cast_slice(blocks),
            Self::Q6K(blocks) => bytemuck::cast_slice(blocks),
        }
    }
}
