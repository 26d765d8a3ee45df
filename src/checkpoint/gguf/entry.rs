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

    /// That of the expert's matrix of this shape that begins at the element with flat index `first`, where a row begins.
    pub(in crate::checkpoint) fn part(
        &self,
        expert: usize,
        shape: &[usize],
        first: usize,
    ) -> Result<Self, CheckpointError> {
        let Info { name, file, kind, bytes, offset, .. } = &self.info;
        let sizes = kind.bytes_for(first).zip(kind.bytes_for(shape.iter().product()));
        let range = sizes.and_then(|(start, size)| Some((start, start.checked_add(size)?)));
        let Some((start, end)) = range.filter(|&(_, end)| end <= bytes.len() && self.order.is_none()) else {
            return Err(self.error("matrices of whole blocks", format!("shape {:?}", self.shape)));
        };
        let info = Info {
            name: format!("{name}[{expert}]"),
            file: file.clone(),
            kind: *kind,
            shape: shape.to_vec(),
            bytes: bytes.slice(start..end),
            offset: offset + start as u64,
        };
        Ok(Self { info, shape: shape.to_vec(), order: None })
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

    /// The element type, if the tensor has the `shape` it must have and a type we read.
    pub(in crate::checkpoint) fn element(&self, shape: &[usize]) -> Result<ElementType, CheckpointError> {
        if self.shape != shape {
            return Err(self.error(format!("shape {shape:?}"), format!("{:?}", self.shape)));
        }
        let unread = || self.error(format!("element type {}", TensorType::all_read()), self.info.kind.to_string());
        self.info.kind.element.ok_or_else(unread)
    }

    /// The tensor in the published order, if it has the `shape` it must have, a type we read, and only sound values.
    pub(in crate::checkpoint) fn tensor(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let stored = self.stored(shape)?;
        stored.check_values(&self.info.file)?;
        self.in_order(stored)
    }

    /// The same, but nobody has looked at its values.
    pub(in crate::checkpoint) fn unchecked(&self) -> Result<Tensor, CheckpointError> {
        self.in_order(self.stored(&self.shape)?)
    }

    fn stored(&self, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let element = self.element(shape)?;
        Tensor::new(&*self.info.name, element, self.shape.clone(), self.info.bytes.clone())
    }

    fn in_order(&self, stored: Tensor) -> Result<Tensor, CheckpointError> {
        let Some(order) = self.order()? else { return Ok(stored) };
        Tensor::new(&*self.info.name, stored.element(), self.shape.clone(), order.restore(stored.bytes()))
    }

    fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> CheckpointError {
        CheckpointError::tensor(&self.info.file, &self.info.name, expected, found)
    }
}
