//! Numbers that cost no more and no less than a model's own.

use bytes::Bytes;
use half::bf16;
use loquent::checkpoint::{CheckpointError, ElementType, Tensor};
use loquent::world::storage::{MapTensors, Mapped, Shapes};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Reproducible numbers in -1..1.
pub(crate) fn noise(len: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(len as u64);
    (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// A model's tensors: matrices in BF16, as published checkpoints have them, and vectors in F32.
pub(crate) struct RandomWeights;

/// Keeps the residual stream within a few units over some tens of layers.
const SCALE: f32 = 0.03;

impl MapTensors<Shapes, Mapped> for RandomWeights {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, CheckpointError> {
        let weights = noise(shape.iter().product());
        let bytes: Vec<u8> = weights.iter().flat_map(|x| bf16::from_f32(x * SCALE).to_le_bytes()).collect();
        Tensor::new(name, ElementType::Bf16, shape.clone(), Bytes::from(bytes))
    }

    fn vector(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, CheckpointError> {
        let weights = noise(shape.iter().product());
        let bytes: Vec<u8> = weights.iter().flat_map(|x| (x * SCALE).to_le_bytes()).collect();
        Tensor::new(name, ElementType::F32, shape.clone(), Bytes::from(bytes))
    }
}
