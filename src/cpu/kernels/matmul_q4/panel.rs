//! How four-bit weights lie in memory: sixteen rows side by side, in the order in which they are read.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::super::simd::LANES;
use super::super::split;
use crate::quant::{BLOCK_LEN, Block};

/// Rows in a panel: one for each lane.
pub const PANEL_ROWS: usize = LANES;

/// One block of each of sixteen rows, all of the same 32 columns: as many bytes as the blocks have in a file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Panel {
    /// Line `j` holds bytes `j, j + 4, j + 8, j + 12` of every row's codes. Their low halves are the codes of columns
    /// `2j, 2j + 8, 2j + 16, 2j + 24`, the high halves those of the columns after each. So packing moves bytes and no
    /// nibbles, and the activations that meet these lie a whole vector apart.
    pub(super) codes: [[[u8; 4]; PANEL_ROWS]; 4],
    pub(super) scales: [f16; PANEL_ROWS],
    pub(super) biases: [f16; PANEL_ROWS],
}

impl Panel {
    fn block(&self, row: usize) -> Block {
        let mut codes = [0; BLOCK_LEN / 2];
        for (j, line) in self.codes.iter().enumerate() {
            for (i, byte) in line[row].into_iter().enumerate() {
                codes[4 * i + j] = byte;
            }
        }
        Block { scale: self.scales[row].to_bits(), bias: self.biases[row].to_bits(), codes }
    }
}

/// Packed rows of a matrix: the panels of the first sixteen rows, then those of the next. Rows that the last panels have
/// room for and the matrix does not have are zero.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    panels: &'a [Panel],
    rows: usize,
    cols: usize,
}

impl<'a> Panels<'a> {
    /// A matrix `[rows, cols]`.
    ///
    /// # Panics
    /// If `cols` is no multiple of 32, or the panels are not as many as such a matrix has.
    #[must_use]
    pub fn new(panels: &'a [Panel], rows: usize, cols: usize) -> Self {
        assert!(cols.is_multiple_of(BLOCK_LEN), "{cols} columns are not whole blocks");
        assert_eq!(panels.len(), Self::count(rows, cols), "panels of {rows} rows of {cols}");
        Self { panels, rows, cols }
    }

    /// How many panels a matrix `[rows, cols]` takes.
    #[must_use]
    pub fn count(rows: usize, cols: usize) -> usize {
        rows.div_ceil(PANEL_ROWS) * (cols / BLOCK_LEN)
    }

    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes that the weights take.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_val(self.panels)
    }

    /// The panels of sixteen rows each, from the row `first` on.
    pub(super) fn groups(&self, first: usize) -> impl Iterator<Item = &'a [Panel]> {
        let blocks = self.cols / BLOCK_LEN;
        self.panels[first / PANEL_ROWS * blocks..].chunks_exact(blocks)
    }

    /// Some of the rows, of which the first must begin a panel.
    ///
    /// # Panics
    /// If there are no such rows, or they begin within a panel.
    #[must_use]
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        assert!(rows.start.is_multiple_of(PANEL_ROWS) && rows.end <= self.rows, "{rows:?} of {}", self.rows);
        let start = Self::count(rows.start, self.cols);
        let panels = &self.panels[start..start + Self::count(rows.len(), self.cols)];
        Self { panels, rows: rows.len(), cols: self.cols }
    }

    /// Writes one row in single precision, exactly as its blocks in the file say.
    ///
    /// # Panics
    /// If there is no such row, or `out` is not as long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {}, {} long", self.rows, self.cols);
        let blocks = self.cols / BLOCK_LEN;
        let panels = &self.panels[row / PANEL_ROWS * blocks..][..blocks];
        for (out, panel) in out.as_chunks_mut::<BLOCK_LEN>().0.iter_mut().zip(panels) {
            *out = panel.block(row % PANEL_ROWS).weights();
        }
    }
}

/// Packs the rows of a matrix, of `in_row` blocks each, on all threads.
///
/// # Panics
/// If `panels` are not as many as such a matrix has.
pub fn pack(rows: &[Block], in_row: usize, panels: &mut [Panel]) {
    assert!(in_row > 0 && rows.len().is_multiple_of(in_row), "{} blocks in rows of {in_row}", rows.len());
    assert_eq!(panels.len(), Panels::count(rows.len() / in_row, in_row * BLOCK_LEN), "panels of {} blocks", rows.len());
    split::chunks(panels, in_row, |group, panels| {
        let first = group * PANEL_ROWS * in_row;
        pack_rows(&rows[first..rows.len().min(first + PANEL_ROWS * in_row)], panels);
    });
}

/// Packs up to sixteen rows of as many blocks as there are panels.
fn pack_rows(rows: &[Block], panels: &mut [Panel]) {
    let blocks = panels.len();
    for (index, panel) in panels.iter_mut().enumerate() {
        *panel = Panel::zeroed();
        for (row, block) in rows[index..].iter().step_by(blocks).enumerate() {
            for (j, line) in panel.codes.iter_mut().enumerate() {
                line[row] = std::array::from_fn(|i| block.codes[4 * i + j]);
            }
            panel.scales[row] = block.scale();
            panel.biases[row] = block.bias();
        }
    }
}
