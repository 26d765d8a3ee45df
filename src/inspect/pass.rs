//! One pass over all files: while one piece is hashed, checked and counted, the next is read. Two pieces are all the
//! memory it takes.

use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::error::InspectError;
use super::histogram::Histogram;
use super::input::{Contents, Input, Piece, RUN};
use super::options::InspectOptions;
use super::report::{InspectReport, Purpose};
use super::statistics::Sums;
use crate::checkpoint::{CheckpointError, ElementType};

/// How far an inspection is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InspectProgress<'a> {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that there are to read.
    pub total: u64,
    /// The file in hand.
    pub file: &'a Path,
}

/// What a pass found.
pub(super) struct Passed {
    /// Of each file, unless it could not be read.
    pub(super) sha256: Vec<Option<String>>,
    /// What is wrong, with the index of the tensor it is wrong with; none if it is the file.
    pub(super) faults: Vec<(Option<usize>, CheckpointError)>,
}

/// Reads all files; the figures of tensors are put into `report`.
pub(super) fn run(
    files: &[Contents],
    report: &mut InspectReport,
    options: InspectOptions,
    mut progress: impl FnMut(InspectProgress<'_>) -> ControlFlow<()> + Send,
) -> Result<Passed, InspectError> {
    let mut passed = Passed { sha256: Vec::new(), faults: Vec::new() };
    let total = files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    let mut input = Input::new(files);
    let (mut front, mut back) = (Piece::default(), Piece::default());
    let mut hash = Sha256::new();
    let mut tensor = InHand::NONE;
    input.fill(&mut front);
    while let Some(file) = front.file {
        let work = || rayon::join(|| hash.update(front.bytes()), || tensor.look_at(&front, report, options));
        let (((), fault), ()) = rayon::join(work, || input.fill(&mut back));
        passed.faults.extend(fault.map(|fault| (front.tensor.map(|(index, ..)| index), fault)));
        if front.is_last {
            let digest = std::mem::take(&mut hash).finalize();
            let hex = || digest.iter().map(|byte| format!("{byte:02x}")).collect();
            passed.sha256.push(front.error.is_none().then(hex));
        }
        passed.faults.extend(front.error.take().map(|error| (None, error)));
        done += front.bytes().len() as u64;
        if progress(InspectProgress { done, total, file: &files[file].path }).is_break() {
            return Err(InspectError::Stopped);
        }
        std::mem::swap(&mut front, &mut back);
    }
    Ok(passed)
}

/// The tensor whose pieces are being read.
struct InHand {
    index: Option<usize>,
    is_faulty: bool,
    sums: Sums,
}

impl InHand {
    const NONE: Self = Self { index: None, is_faulty: false, sums: Sums::NONE };

    /// Checks and counts the elements of a piece; the first that is not as it must be is the fault.
    fn look_at(
        &mut self,
        piece: &Piece,
        report: &mut InspectReport,
        options: InspectOptions,
    ) -> Option<CheckpointError> {
        let (index, element, start) = piece.tensor?;
        if self.index != Some(index) {
            *self = Self { index: Some(index), ..Self::NONE };
        }
        if self.is_faulty {
            return None;
        }
        let tensor = report.tensors.get_mut(index)?;
        if let Err(fault) = tensor.entry.check_values(element, start, piece.bytes()) {
            self.is_faulty = true;
            return Some(fault);
        }
        let count: usize = tensor.entry.shape.iter().product();
        let end = count.min(start + elements_in(element, piece.bytes().len()));
        if options.statistics && tensor.purpose.is_used() {
            let sums = sums(element, piece.bytes(), start..end, row_width(&tensor.entry.shape));
            self.sums = self.sums.then(sums);
            if end == count {
                tensor.statistics = Some(self.sums.statistics(count));
            }
        }
        if options.histograms && tensor.purpose == Purpose::Matrix {
            let more = Histogram::of(element, piece.bytes(), end - start);
            report.histograms.entry(tensor.kind().to_owned()).or_default().add(&more);
        }
        None
    }
}

/// How many elements there are in so many bytes, with those that fill up the last block.
fn elements_in(element: ElementType, bytes: usize) -> usize {
    bytes / element.block_size() * element.block_len()
}

/// The elements that share the outermost index.
fn row_width(shape: &[usize]) -> usize {
    match shape {
        [] => 1,
        [all] => *all,
        [_, rest @ ..] => rest.iter().product(),
    }
}

fn sums(element: ElementType, bytes: &[u8], elements: std::ops::Range<usize>, width: usize) -> Sums {
    let count = elements.len();
    let runs = (0..count.div_ceil(RUN)).into_par_iter().map_init(
        || vec![0.0; RUN],
        |values, run| {
            let values = &mut values[..RUN.min(count - run * RUN)];
            element.widen(bytes, run * RUN, values);
            Sums::of(values, elements.start + run * RUN, width)
        },
    );
    runs.collect::<Vec<_>>().into_iter().fold(Sums::NONE, Sums::then)
}
