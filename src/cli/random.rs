//! Random weights of any shape, to measure speed without a checkpoint.

use half::{bf16, f16};
use loquent::checkpoint::{ElementType, Tensor};
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
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, TooLarge> {
        let too_large = || TooLarge { name: name.to_owned(), shape: shape.to_vec() };
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or_else(too_large)?;
        let bytes = match self.element {
            ElementType::F32 => fill(count, |weight| weight),
            ElementType::F16 => fill(count, f16::from_f32),
            ElementType::Bf16 => fill(count, bf16::from_f32),
            ElementType::Q4 => fill_blocks(count),
        };
        Tensor::new(name, self.element, shape.to_vec(), bytes.ok_or_else(too_large)?).map_err(|_| too_large())
    }
}

/// Blocks of random codes, whose scale and bias spread them as widely as other weights.
fn fill_blocks(count: usize) -> Option<bytes::Bytes> {
    let scale = f16::from_f32(2.0 * HALF_WIDTH / 15.0);
    let bias = f16::from_f32(-HALF_WIDTH);
    fill(count.div_ceil(BLOCK_LEN), |weight| {
        // The bits that a random number has are stretched to all codes of a block.
        let codes = u128::from(weight.to_bits()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        Block { scale: scale.to_bits(), bias: bias.to_bits(), codes: codes.to_le_bytes() }
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
        self.tensor(name, &matrix.dims)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, TooLarge> {
        // As a converted checkpoint keeps them.
        let element = if self.element == ElementType::Q4 { ElementType::F16 } else { self.element };
        Ok(StoredVector { tensor: Self { element }.tensor(name, &vector.dims)?, role: vector.role })
    }
}
