//! All tensors, one after the other, in pieces: while one piece is narrowed, the piece before it is written and the one
//! after it is read. Two slots are all the memory it takes.

use std::ops::ControlFlow;
use std::path::Path;

use super::error::ConvertError;
use super::model::PlannedTensor;
use super::narrow::{self, NarrowError};
use super::options::ConvertOptions;
use super::output::Output;
use super::progress::{ConvertProgress, Meter};
use crate::checkpoint::{Piece, TensorReader};
use crate::quant::{BLOCK_LEN, Deviation};

/// Source bytes in a piece.
const PIECE: usize = 16 << 20;

/// A piece of a tensor and its new form.
#[derive(Default)]
struct Slot {
    /// Index of the tensor; `None` where the slot is empty.
    tensor: Option<usize>,
    /// Flat index of the piece's first element in the tensor.
    first: usize,
    piece: Piece,
    narrowed: Vec<u16>,
}

/// Writes the files of all tensors to `directory`; how far each is off comes back.
pub(super) fn run(
    tensors: &[PlannedTensor],
    options: ConvertOptions,
    directory: &Path,
    meter: &Meter<impl FnMut(ConvertProgress<'_>) -> ControlFlow<()> + Send>,
) -> Result<Vec<Deviation>, ConvertError> {
    let mut deviations = vec![Deviation::default(); tensors.len()];
    let mut input = Input { tensors, next: 0, reader: None };
    let mut output = Output::new(directory)?;
    let (mut front, mut back) = (Slot::default(), Slot::default());
    let mut panels = Vec::new();
    input.fill(&mut front)?;
    while let Some(index) = front.tensor {
        let (narrowed, moved) = rayon::join(
            || front.narrow(tensors, options, &mut panels),
            || {
                back.write(tensors, &mut output)?;
                input.fill(&mut back)
            },
        );
        deviations[index] = [deviations[index], narrowed?].into_iter().sum();
        moved?;
        meter.advance(front.piece.size(), &tensors[index].name)?;
        std::mem::swap(&mut front, &mut back);
    }
    back.write(tensors, &mut output)?;
    output.finish()?;
    Ok(deviations)
}

impl Slot {
    fn narrow(
        &mut self,
        tensors: &[PlannedTensor],
        options: ConvertOptions,
        panels: &mut Vec<f64>,
    ) -> Result<Deviation, ConvertError> {
        let Some(index) = self.tensor else { return Ok(Deviation::default()) };
        let PlannedTensor { stored, change, name, .. } = &tensors[index];
        let changed = change.apply(stored, self.first, &self.piece, panels)?;
        let narrowed = if tensors[index].is_quantized() {
            narrow::to_blocks(&changed, options, &mut self.narrowed)
        } else {
            narrow::to_halves(&changed, &mut self.narrowed)
        };
        let (file, tensor) = (stored.file().to_owned(), name.clone());
        narrowed.map_err(|error| match error {
            NarrowError::Quant(reason) => {
                ConvertError::Weights { file, tensor, reason: reason.after_blocks(self.first / BLOCK_LEN) }
            }
            NarrowError::Half { index, value } => ConvertError::Half { file, tensor, index: self.first + index, value },
        })
    }

    /// Writes the new form, if there is any.
    fn write(&self, tensors: &[PlannedTensor], output: &mut Output<'_>) -> Result<(), ConvertError> {
        let Some(index) = self.tensor else { return Ok(()) };
        if self.first == 0 {
            output.begin(&tensors[index])?;
        }
        output.write(bytemuck::cast_slice(&self.narrowed))
    }
}

/// The pieces of all tensors in order.
struct Input<'a> {
    tensors: &'a [PlannedTensor],
    /// Index of the tensor after the one that is being read.
    next: usize,
    /// The tensor that is being read, and how many of its elements were.
    reader: Option<(TensorReader, usize)>,
}

impl Input<'_> {
    /// Puts the next piece into `slot`, or empties it if there is none.
    fn fill(&mut self, slot: &mut Slot) -> Result<(), ConvertError> {
        slot.tensor = None;
        loop {
            if let Some((reader, first)) = &mut self.reader {
                let tensor = self.next - 1;
                let PlannedTensor { stored, change, .. } = &self.tensors[tensor];
                reader.read(&mut slot.piece, change.piece_len(stored, stored.elements_in(PIECE)))?;
                if !slot.piece.is_empty() {
                    (slot.tensor, slot.first) = (Some(tensor), *first);
                    *first += slot.piece.len();
                    return Ok(());
                }
            }
            let Some(tensor) = self.tensors.get(self.next) else { return Ok(()) };
            self.reader = Some((tensor.stored.open()?, 0));
            self.next += 1;
        }
    }
}
