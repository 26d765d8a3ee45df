//! Random weights of any shape, to measure speed without a checkpoint.

use half::{bf16, f16};
use loquent::checkpoint::{ElementType, Tensor};
use loquent::quant::ggml::{BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0};
use loquent::quant::{BLOCK_LEN, Block};
use loquent::world::role::{MatrixRole, VectorRole};
use loquent::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};
use rayon::prelude::*;

/// Uniform numbers of about the standard deviation that models are initialised with, 0.02.
pub(super) struct RandomWeights {
    pub(super) element: ElementType,
}

/// A shape that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {name} with the shape {shape:?}: it does not fit in memory")]
pub(super) struct TooLarge {
    name: String,
    shape: Vec<usize>,
}

/// Half the width of the uniform distribution whose standard deviation is 0.02.
const HALF_WIDTH: f32 = 0.0346;

/// Weights from one run of random numbers; runs are made in parallel.
const RUN: usize = 1 << 16;

impl RandomWeights {
    fn tensor(&self, name: &str, shape: &[usize], is_matrix: bool) -> Result<Tensor, TooLarge> {
        let too_large = || TooLarge { name: name.to_owned(), shape: shape.to_vec() };
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or_else(too_large)?;
        let element = self.element.of_tensor(shape, is_matrix);
        let bytes = match element {
            ElementType::F32 => fill(count, |weight| weight),
            ElementType::F16 => fill(count, f16::from_f32),
            ElementType::Bf16 => fill(count, bf16::from_f32),
            blocks => fill_blocks(blocks, count),
        };
        Tensor::new(name, element, shape.to_vec(), bytes.ok_or_else(too_large)?).map_err(|_| too_large())
    }
}

/// Blocks of random codes, whose scale and bias spread them as widely as other weights.
fn fill_blocks(element: ElementType, count: usize) -> Option<bytes::Bytes> {
    let blocks = count.div_ceil(element.block_len());
    // A scale that spreads so many codes, or as many times a small scale.
    let scale = |codes: f32| f16::from_f32(2.0 * HALF_WIDTH / codes);
    let lowest = f16::from_f32(-HALF_WIDTH);
    match element {
        ElementType::Q4_0 => fill(blocks, |weight| BlockQ4_0 { d: scale(15.0), qs: stretched(weight) }),
        ElementType::Q4_1 => fill(blocks, |weight| BlockQ4_1 { d: scale(15.0), m: lowest, qs: stretched(weight) }),
        ElementType::Q8_0 => {
            fill(blocks, |weight| BlockQ8_0 { d: scale(255.0), qs: stretched::<BLOCK_LEN>(weight).map(|q| q as i8) })
        }
        // Small scales have six bits, and are 31 or 32 on average; Q6_K's have eight.
        ElementType::Q4K => fill(blocks, |weight| BlockQ4K {
            d: scale(15.0 * 31.5),
            dmin: scale(63.0),
            scales: stretched(weight),
            qs: stretched(weight),
        }),
        ElementType::Q5K => fill(blocks, |weight| BlockQ5K {
            d: scale(31.0 * 31.5),
            dmin: scale(63.0),
            scales: stretched(weight),
            qh: stretched(-weight),
            qs: stretched(weight),
        }),
        ElementType::Q6K => fill(blocks, |weight| BlockQ6K {
            ql: stretched(weight),
            qh: stretched(-weight),
            scales: stretched::<16>(weight).map(|scale| scale as i8),
            d: scale(63.0 * 64.0),
        }),
        _ => fill(blocks, |weight| Block {
            scale: scale(15.0).to_bits(),
            bias: lowest.to_bits(),
            codes: stretched(weight),
        }),
    }
}

/// The bits that a random number has, stretched to as many bytes.
fn stretched<const N: usize>(weight: f32) -> [u8; N] {
    let mut state = u64::from(weight.to_bits()) | 1 << 40;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}

/// `count` random weights, or nothing if there is no room for them.
fn fill<T: bytemuck::Pod + Send + Sync>(count: usize, narrow: impl Fn(f32) -> T + Sync) -> Option<bytes::Bytes> {
    struct Owner<T>(Vec<T>);
    impl<T: bytemuck::Pod> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let mut weights: Vec<T> = Vec::new();
    weights.try_reserve_exact(count).ok()?;
    weights.resize(count, T::zeroed());
    weights.par_chunks_mut(RUN).enumerate().for_each(|(index, run)| {
        // xorshift (Marsaglia, 2003): quality does not matter here, and speed does.
        let mut state = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for weight in run {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
            *weight = narrow(unit * HALF_WIDTH);
        }
    });
    Some(bytes::Bytes::from_owner(Owner(weights)))
}

impl MapTensors<Shapes, Mapped> for RandomWeights {
    type Error = TooLarge;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, TooLarge> {
        self.tensor(name, &matrix.dims, true)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, TooLarge> {
        Ok(StoredVector { tensor: self.tensor(name, &vector.dims, false)?, role: vector.role })
    }
}
