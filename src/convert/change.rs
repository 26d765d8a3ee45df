//! What is done to a tensor's elements before they are narrowed, in double precision. Where they are kept as they are,
//! nothing is, and they are narrowed from what they are stored as.

use std::sync::Arc;

use half::{bf16, f16};
use rayon::prelude::*;

use super::error::ConvertError;
use crate::checkpoint::{Elements, Piece, StoredTensor};
use crate::quant::{BLOCK_LEN, QuantBlock, QuantError, Rotation, with_blocks};

/// What is done to a tensor.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nothing.
    Keep,
    /// Every element becomes this: a norm that was multiplied into the matrices after it, and multiplies by one from then on.
    Fill(f64),
    /// Every row is rotated, after it was multiplied with a norm: a matrix that reads the residual stream.
    RotateRows { rotation: Arc<Rotation>, norm: Option<Norm> },
    /// Every column is rotated: a matrix that writes to the residual stream.
    RotateColumns { rotation: Arc<Rotation> },
}

/// A norm that is multiplied into a matrix.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) stored: StoredTensor,
    /// What is added to its weights first.
    pub(super) shift: f64,
}

/// Elements that a thread takes at a time: large enough that handing them out costs nothing, small enough that they stay
/// in a core's second cache.
pub(super) const RUN: usize = 1 << 14;

/// Columns that are rotated together, and then lie side by side: a thousand of their elements stay in the second cache.
const PANEL: usize = 16;

impl Change {
    /// Elements of a tensor to take at a time, `rows` rows or more if they must be: a column needs them all.
    pub(super) fn piece_len(&self, stored: &StoredTensor, most: usize) -> usize {
        match self {
            Self::Keep | Self::Fill(_) => most,
            // Both are powers of two: if rows are the shorter ones, they are whole, and so are blocks.
            Self::RotateRows { rotation, .. } => most.max(rotation.size()),
            Self::RotateColumns { .. } => stored.len(),
        }
    }

    /// Makes the change to a piece of `stored`, whose first element has index `first`, or gets all ready to make it where
    /// elements are read. `panels` is memory to be used again.
    pub(super) fn apply<'a>(
        &'a self,
        stored: &StoredTensor,
        first: usize,
        piece: &'a Piece,
        panels: &'a mut Vec<f64>,
    ) -> Result<Changed<'a>, ConvertError> {
        let elements = piece.elements();
        if matches!(self, Self::RotateRows { .. } | Self::RotateColumns { .. }) {
            // Before it spreads over a whole row or column.
            check_finite(stored, elements, first)?;
        }
        Ok(match self {
            Self::Keep => Changed::Kept(elements),
            &Self::Fill(value) => Changed::Filled { len: elements.len(), value },
            Self::RotateRows { rotation, norm } => {
                let factors = norm.as_ref().map(Norm::factors).transpose()?;
                Changed::Rows { elements, factors, rotation }
            }
            Self::RotateColumns { rotation } => {
                let columns = elements.len() / rotation.size();
                rotate_columns(elements, columns, rotation, panels);
                Changed::Panels { values: panels, columns, rows: rotation.size() }
            }
        })
    }
}

/// Elements after a [`Change`].
#[derive(Debug)]
pub(super) enum Changed<'a> {
    Kept(Elements<'a>),
    Filled {
        len: usize,
        value: f64,
    },
    Rows {
        elements: Elements<'a>,
        factors: Option<Vec<f64>>,
        rotation: &'a Rotation,
    },
    /// Of `PANEL` columns each, but for the last one; each panel is row-major.
    Panels {
        values: &'a [f64],
        columns: usize,
        rows: usize,
    },
}

impl Changed<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kept(elements) | Self::Rows { elements, .. } => elements.len(),
            Self::Filled { len, .. } => *len,
            Self::Panels { values, .. } => values.len(),
        }
    }

    /// Elements to read at a time: whole blocks, and whole rows where they are rotated.
    pub(super) fn run(&self) -> usize {
        match self {
            // Both are powers of two.
            Self::Rows { rotation, .. } => RUN.max(rotation.size()),
            _ => RUN,
        }
    }

    /// Writes the elements from flat index `first` on to `out`, as many as it holds. Rows that are rotated must be whole.
    pub(super) fn read(&self, first: usize, out: &mut [f64]) {
        match self {
            Self::Kept(elements) => elements.read(first, out),
            Self::Filled { value, .. } => out.fill(*value),
            Self::Rows { elements, factors, rotation } => {
                elements.read(first, out);
                if let Some(factors) = factors {
                    for row in out.chunks_exact_mut(factors.len()) {
                        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
                    }
                }
                rotation.rotate_rows(out);
            }
            Self::Panels { values, columns, rows } => {
                let (mut index, mut rest) = (first, out);
                while !rest.is_empty() {
                    let (row, column) = (index / columns, index % columns);
                    let (panel, within) = (column - column % PANEL, column % PANEL);
                    let width = PANEL.min(columns - panel);
                    let count = rest.len().min(width - within);
                    let (part, after) = rest.split_at_mut(count);
                    part.copy_from_slice(&values[panel * rows + row * width + within..][..count]);
                    (index, rest) = (index + count, after);
                }
            }
        }
    }
}

/// Rotates all columns of a whole matrix into panels.
fn rotate_columns(elements: Elements<'_>, columns: usize, rotation: &Rotation, panels: &mut Vec<f64>) {
    panels.resize(elements.len(), 0.0);
    let rows = rotation.size();
    panels.par_chunks_mut(rows * PANEL).enumerate().for_each(|(panel, values)| {
        let width = values.len() / rows;
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            elements.read(row * columns + panel * PANEL, values);
        }
        rotation.rotate_columns(values, width);
    });
}

impl Norm {
    fn factors(&self) -> Result<Vec<f64>, ConvertError> {
        let mut factors = read_vector(&self.stored)?;
        factors.iter_mut().for_each(|weight| *weight += self.shift);
        Ok(factors)
    }
}

/// All elements of a small tensor, which are known to be finite.
pub(super) fn read_vector(stored: &StoredTensor) -> Result<Vec<f64>, ConvertError> {
    let mut piece = Piece::default();
    stored.open()?.read(&mut piece, stored.len())?;
    check_finite(stored, piece.elements(), 0)?;
    let mut values = vec![0.0; stored.len()];
    piece.elements().read(0, &mut values);
    Ok(values)
}

/// Refuses an element of the source that is infinite or not a number.
fn check_finite(stored: &StoredTensor, elements: Elements<'_>, first: usize) -> Result<(), ConvertError> {
    fn first_bad<T: Copy + Sync>(elements: &[T], is_finite: impl Fn(T) -> bool + Sync) -> Option<usize> {
        // Without a way out in the middle, this becomes vector code.
        let is_sound = |run: &[T]| run.iter().fold(true, |sound, &element| sound & is_finite(element));
        let run = elements.par_chunks(RUN).position_first(|run| !is_sound(run))?;
        let within = elements[run * RUN..].iter().position(|&element| !is_finite(element))?;
        Some(run * RUN + within)
    }
    let bad = match elements {
        Elements::F32(elements) => first_bad(elements, f32::is_finite),
        Elements::F16(elements) => first_bad(elements, f16::is_finite),
        Elements::Bf16(elements) => first_bad(elements, bf16::is_finite),
        Elements::Blocks { blocks, .. } => {
            let bad = with_blocks!(blocks, blocks => first_bad(blocks, |block| block.is_sound()));
            bad.map(|block| block * blocks.block_len())
        }
    };
    let Some(index) = bad else { return Ok(()) };
    let mut value = [0.0];
    elements.read(index, &mut value);
    let index = first + index;
    #[expect(clippy::cast_possible_truncation, reason = "it is no number that could lose digits")]
    let reason = QuantError::NonFinite { block: index / BLOCK_LEN, index, value: value[0] as f32 };
    Err(ConvertError::Weights { file: stored.file().into(), tensor: stored.name().into(), reason })
}
