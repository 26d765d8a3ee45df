//! Numbers that cost no more and no less than a model's own.

use bytes::Bytes;
use half::bf16;
use loquent::checkpoint::{CheckpointError, ElementType, Tensor};
use loquent::quant::{Encoding, Search, quantize};
use loquent::world::role::{MatrixRole, VectorRole};
use loquent::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Reproducible numbers in -1..1.
pub(crate) fn noise(len: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(len as u64);
    (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// A model's tensors: matrices in one of two types, vectors in F32.
pub(crate) struct RandomWeights {
    pub(crate) matrices: Matrices,
}

/// What matrices are stored as.
#[derive(Clone, Copy)]
pub(crate) enum Matrices {
    /// As published checkpoints have them.
    Bf16,
    /// As converted ones have them.
    Q4,
}

/// Keeps the residual stream within a few units over some tens of layers.
const SCALE: f32 = 0.03;

impl MapTensors<Shapes, Mapped> for RandomWeights {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, CheckpointError> {
        let shape = &matrix.dims;
        let weights: Vec<f32> = noise(shape.iter().product()).iter().map(|x| x * SCALE).collect();
        let (element, bytes): (_, Vec<u8>) = match self.matrices {
            Matrices::Bf16 => {
                let brains = weights.iter().map(|&x| bf16::from_f32(x));
                (ElementType::Bf16, brains.flat_map(bf16::to_le_bytes).collect())
            }
            Matrices::Q4 => {
                let blocks = quantize(&weights, Encoding::Asymmetric, Search::MinMax).expect("finite weights");
                (ElementType::Q4, bytemuck::cast_slice(&blocks).to_vec())
            }
        };
        Tensor::new(name, element, shape.clone(), Bytes::from(bytes))
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, CheckpointError> {
        let weights = noise(vector.dims.iter().product());
        let bytes: Vec<u8> = weights.iter().flat_map(|x| (x * SCALE).to_le_bytes()).collect();
        let tensor = Tensor::new(name, ElementType::F32, vector.dims.clone(), Bytes::from(bytes))?;
        Ok(StoredVector { tensor, role: vector.role })
    }
}
