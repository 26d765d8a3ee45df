//! All tensors, one after the other, in pieces: while one piece is narrowed, the piece before it is written and the one
//! after it is read. Two slots are all the memory it takes.

use std::ops::ControlFlow;
use std::path::Path;

use super::error::ConvertError;
use super::narrow::{self, NarrowError};
use super::output::Output;
use super::plan::{Conversion, PlannedTensor};
use crate::checkpoint::{Piece, TensorReader};
use crate::quant::{BLOCK_LEN, Deviation};

/// Source bytes in a piece.
const PIECE: usize = 16 << 20;

/// How far a conversion is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Bytes of the source that are done.
    pub done: u64,
    /// Bytes of the source that there are to do.
    pub total: u64,
    /// The full name of the tensor in hand.
    pub tensor: &'a str,
}

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
    conversion: &Conversion,
    directory: &Path,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()> + Send,
) -> Result<Vec<Deviation>, ConvertError> {
    let tensors = &conversion.tensors;
    let mut deviations = vec![Deviation::default(); tensors.len()];
    let mut input = Input { tensors, next: 0, reader: None };
    let mut output = Output::new(directory)?;
    let (mut done, total) = (0, conversion.report().tensors.iter().map(|tensor| tensor.source_bytes).sum());
    let (mut front, mut back) = (Slot::default(), Slot::default());
    input.fill(&mut front)?;
    while let Some(index) = front.tensor {
        let (narrowed, moved) = rayon::join(
            || front.narrow(conversion),
            || {
                back.write(tensors, &mut output)?;
                input.fill(&mut back)
            },
        );
        deviations[index] = [deviations[index], narrowed?].into_iter().sum();
        moved?;
        let tensor = &tensors[index].stored;
        done += front.piece.size() as u64;
        if progress(Progress { done, total, tensor: tensor.name() }).is_break() {
            return Err(ConvertError::Stopped);
        }
        std::mem::swap(&mut front, &mut back);
    }
    back.write(tensors, &mut output)?;
    output.finish()?;
    Ok(deviations)
}

impl Slot {
    fn narrow(&mut self, conversion: &Conversion) -> Result<Deviation, ConvertError> {
        let Some(index) = self.tensor else { return Ok(Deviation::default()) };
        let tensor = &conversion.tensors[index];
        let elements = self.piece.elements();
        let narrowed = if tensor.quantized {
            narrow::to_blocks(elements, conversion.options, &mut self.narrowed)
        } else {
            narrow::to_halves(elements, &mut self.narrowed)
        };
        let (file, name) = (tensor.stored.file().to_owned(), tensor.stored.name().to_owned());
        narrowed.map_err(|error| match error {
            NarrowError::Quant(reason) => {
                ConvertError::Weights { file, tensor: name, reason: reason.after_blocks(self.first / BLOCK_LEN) }
            }
            NarrowError::Half { index, value } => {
                ConvertError::Half { file, tensor: name, index: self.first + index, value }
            }
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
                reader.read(&mut slot.piece, PIECE / self.tensors[tensor].stored.element_size())?;
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
