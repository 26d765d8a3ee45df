//! How a model's tensors are read: each told of, counted, and made part of the fingerprint.

use crate::checkpoint::{Checkpoint, CheckpointError, ModelConfig, MoeConfig, Tensor};
use crate::world::fingerprint::{Fingerprint, FingerprintOf};
use crate::world::role::{MatrixRole, VectorRole};
use crate::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};

/// A checkpoint hands out each tensor once its shape and values are checked. Its bytes mean what the model's makers say,
/// unless whoever wrote the file has done to small tensors what is to be done to them.
impl MapTensors<Shapes, Mapped> for Checkpoint {
    type Error = CheckpointError;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, CheckpointError> {
        self.take(name, &matrix.dims)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, CheckpointError> {
        let role = if self.is_applied() { vector.role.applied() } else { vector.role };
        Ok(StoredVector { tensor: self.take(name, &vector.dims)?, role })
    }
}

/// Tells of each tensor, counts bytes, and takes the fingerprint.
pub(super) struct Reader<'a, M, P> {
    source: &'a mut M,
    progress: P,
    bytes: usize,
    expert_bytes: usize,
    fingerprint: FingerprintOf,
}

impl<'a, M, P> Reader<'a, M, P> {
    /// Reads the tensors of such a model.
    pub(super) fn new(config: &ModelConfig, source: &'a mut M, progress: P) -> Self {
        Self { source, progress, bytes: 0, expert_bytes: 0, fingerprint: FingerprintOf::model(config) }
    }

    /// What a token reads of the tensors read so far, if it reads whole matrices: of all experts, which have the same size in
    /// all layers, a few.
    pub(super) fn bytes_per_token(&self, config: &ModelConfig) -> usize {
        let of_experts = |moe: &MoeConfig| self.expert_bytes / moe.num_experts * moe.num_experts_per_tok;
        self.bytes + config.moe.as_ref().map_or(0, of_experts)
    }

    /// That of the tensors read so far.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone().finish()
    }
}

impl<M: MapTensors<Shapes, Mapped>, P: FnMut(&str)> MapTensors<Shapes, Mapped> for Reader<'_, M, P> {
    type Error = M::Error;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, M::Error> {
        (self.progress)(name);
        let tensor = self.source.matrix(name, matrix)?;
        self.bytes += tensor.bytes().len();
        self.fingerprint.tensor(name, &tensor);
        Ok(tensor)
    }

    fn expert(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Tensor, M::Error> {
        (self.progress)(name);
        let tensor = self.source.expert(name, matrix)?;
        self.expert_bytes += tensor.bytes().len();
        self.fingerprint.tensor(name, &tensor);
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<StoredVector, M::Error> {
        let vector = self.source.vector(name, vector)?;
        self.bytes += vector.tensor.bytes().len();
        self.fingerprint.tensor(name, &vector.tensor);
        Ok(vector)
    }
}
