//! A tensor of a file as the model has it: with the published name, shape and order.

use std::path::Path;

use super::order::Transposed;
use super::tensors::Info;
use super::types::TensorType;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::tensor::{ElementType, Tensor};

/// A tensor that is known to lie in its file, with bytes that are its shape's size.
#[derive(Clone, Debug)]
pub(in crate::checkpoint) struct Entry {
    info: Info,
    /// The dimensions that the makers of the model gave it, outermost first.
    shape: Vec<usize>,
    /// How its parts were put in another order, if they were.
    order: Option<Transposed>,
}

impl Entry {
    pub(super) fn new(info: Info, shape: Vec<usize>, order: Option<Transposed>) -> Self {
        Self { info, shape, order }
    }

    /// As its file calls it.
    pub(in crate::checkpoint) fn name(&self) -> &str {
        &self.info.name
    }

    pub(in crate::checkpoint) fn file(&self) -> &Path {
        &self.info.file
    }

    pub(in crate::checkpoint) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// As the file calls it; there may be types among them that we do not read.
    pub(in crate::checkpoint) fn element_type(&self) -> String {
        self.info.kind.to_string()
    }

    /// What its elements take in the file.
    pub(in crate::checkpoint) fn size(&self) -> u64 {
        self.info.bytes.len() as u64
    }

    /// Of the first element, in bytes from the beginning of the file.
    pub(in crate::checkpoint) fn offset(&self) -> u64 {
        self.info.offset
    }

    /// How its bytes are in another order in the file, if they are.
    pub(in crate::checkpoint) fn order(&self) -> Result<Option<Transposed>, CheckpointError> {
        let Some(order) = self.order else { return Ok(None) };
        order.in_bytes(self.info.kind).map(Some).ok_or_else(|| {
            let expected = format!("parts of whole blocks, since parts of {} elements are put in order", order.unit);
            self.error(expected, format!("blocks of {}, of {}", self.info.kind.block, self.info.kind))
        })
    }

    /// The element type, if it is one we read and the tensor has the `shape` it must have.
    pub(in crate::checkpoint) fn element(&self, shape: &[usize]) -> Result<ElementType, CheckpointError> {
        if self.shape != shape {
            return Err(self.error(format!("shape {shape:?}"), format!("{:?}", self.shape)));
        }
        let Some(element) = self.info.kind.element else {
            return Err(self.error(format!("element type {}", TensorType::all_read()), self.info.kind.to_string()));
        };
        self.order()?;
        Ok(element)
    }

    /// The tensor, if it has the `shape` it must have, a type we read, and only sound values.
    pub(in crate::checkpoint) fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        self.element(shape)?;
        let tensor = self.unchecked()?;
        tensor.check_values(&self.info.file)?;
        Ok(tensor)
    }

    /// The tensor as it is stored, in the published order, if it has a type we read.
    pub(in crate::checkpoint) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        let element = self.element(&self.shape)?;
        let bytes = match self.order()? {
            Some(order) => order.restore(&self.info.bytes),
            None => self.info.bytes.clone(),
        };
        Tensor::new(&*self.info.name, element, self.shape.clone(), bytes)
    }

    fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> CheckpointError {
        CheckpointError::tensor(&self.info.file, &self.info.name, expected, found)
    }
}
