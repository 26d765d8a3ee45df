//! Whole matrices of panels, whatever panels they are: bytes, so that memory for a model's is one piece.

use std::ops::Range;

use super::super::columns::Columns;
use super::super::isa::Isa;
use super::super::split;
use super::activations::Activations;
use super::panel::{PANEL_ROWS, PackInto, Panel, PanelQ4, PanelQ4_0, PanelQ4K, PanelQ5K, PanelQ6K, PanelQ8_0};
use super::tile;
use crate::quant::{BLOCK_LEN, Blocks};

/// What packed weights lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackedFormat {
    /// Of four bits with a scale and a bias.
    Q4,
    /// Of four bits about zero.
    Q4_0,
    /// Of eight bits about zero.
    Q8_0,
    /// Of four bits, and scales and minima of six.
    Q4K,
    /// Of five bits, and scales and minima of six.
    Q5K,
    /// Of six bits, and scales of eight.
    Q6K,
}

/// Does the same with each type of panel.
macro_rules! with_panel {
    ($format:expr, $panel:ident => $body:expr) => {
        match $format {
            PackedFormat::Q4 => with_panel!(@ PanelQ4, $panel, $body),
            PackedFormat::Q4_0 => with_panel!(@ PanelQ4_0, $panel, $body),
            PackedFormat::Q8_0 => with_panel!(@ PanelQ8_0, $panel, $body),
            PackedFormat::Q4K => with_panel!(@ PanelQ4K, $panel, $body),
            PackedFormat::Q5K => with_panel!(@ PanelQ5K, $panel, $body),
            PackedFormat::Q6K => with_panel!(@ PanelQ6K, $panel, $body),
        }
    };
    (@ $type:ident, $panel:ident, $body:expr) => {{
        type $panel = $type;
        $body
    }};
}

impl PackedFormat {
    /// What such blocks are packed as.
    #[must_use]
    pub fn of(blocks: &Blocks<'_>) -> Self {
        match blocks {
            Blocks::Q4(_) | Blocks::Q4_1(_) => Self::Q4,
            Blocks::Q4_0(_) => Self::Q4_0,
            Blocks::Q8_0(_) => Self::Q8_0,
            Blocks::Q4K(_) => Self::Q4K,
            Blocks::Q5K(_) => Self::Q5K,
            Blocks::Q6K(_) => Self::Q6K,
        }
    }

    /// The bytes that a matrix `[rows, cols]` takes; `None` if its rows are not whole blocks, or there is no counting them.
    #[must_use]
    pub fn bytes(self, rows: usize, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.panel_cols()) {
            return None;
        }
        rows.div_ceil(PANEL_ROWS).checked_mul((cols / self.panel_cols()).checked_mul(self.panel_bytes())?)
    }

    fn panel_cols(self) -> usize {
        with_panel!(self, P => P::BLOCKS * BLOCK_LEN)
    }

    fn panel_bytes(self) -> usize {
        with_panel!(self, P => size_of::<P>())
    }
}

/// Packed rows of a matrix: the panels of the first sixteen rows, then those of the next. Rows that the last panels have
/// room for and the matrix does not have are zero.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    bytes: &'a [u8],
    format: PackedFormat,
    rows: usize,
    cols: usize,
}

impl<'a> Panels<'a> {
    /// A matrix `[rows, cols]`, in memory that begins where a line of the cache does.
    ///
    /// # Panics
    /// If `cols` are not whole blocks, or the bytes are not as many as such a matrix has.
    #[must_use]
    pub fn new(bytes: &'a [u8], format: PackedFormat, rows: usize, cols: usize) -> Self {
        assert_eq!(Some(bytes.len()), format.bytes(rows, cols), "{format:?} panels of {rows} rows of {cols}");
        Self { bytes, format, rows, cols }
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
        self.bytes.len()
    }

    /// Some of the rows, of which the first must begin a panel.
    ///
    /// # Panics
    /// If there are no such rows, or they begin within a panel.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        assert!(rows.start.is_multiple_of(PANEL_ROWS) && rows.end <= self.rows, "{rows:?} of {}", self.rows);
        let group = self.cols / self.format.panel_cols() * self.format.panel_bytes();
        let groups = rows.start / PANEL_ROWS..rows.end.div_ceil(PANEL_ROWS).max(rows.start / PANEL_ROWS);
        Self { bytes: &self.bytes[groups.start * group..groups.end * group], rows: rows.len(), ..*self }
    }

    /// Writes one row in single precision, exactly as its blocks in the file say.
    ///
    /// # Panics
    /// If there is no such row, or `out` is not as long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {}, {} long", self.rows, self.cols);
        with_panel!(self.format, P => {
            let panels: &[P] = bytemuck::cast_slice(self.bytes);
            let in_row = self.cols / (P::BLOCKS * BLOCK_LEN);
            let panels = &panels[row / PANEL_ROWS * in_row..];
            for (out, panel) in out.chunks_exact_mut(P::BLOCKS * BLOCK_LEN).zip(panels) {
                panel.dequantize(row % PANEL_ROWS, out);
            }
        });
    }
}

/// Fills a product of all rows of `x` and all weights.
pub(in super::super) fn rows(isa: Isa, x: &Activations, weights: Panels<'_>, out: &mut Columns<'_>) {
    with_panel!(weights.format, P => tile::rows::<P>(isa, x, bytemuck::cast_slice(weights.bytes), out));
}

/// Packs the rows of a matrix, of `cols` columns each, into memory that begins where a line of the cache does, on all
/// threads.
///
/// # Panics
/// If rows are not whole blocks, or `panels` are not as many bytes as such a matrix has.
pub fn pack(blocks: Blocks<'_>, cols: usize, panels: &mut [u8]) {
    let format = PackedFormat::of(&blocks);
    assert!(cols > 0 && blocks.len().is_multiple_of(cols), "{} weights in rows of {cols}", blocks.len());
    assert_eq!(Some(panels.len()), format.bytes(blocks.len() / cols, cols), "panels of {} weights", blocks.len());
    let in_row = cols / blocks.block_len();
    match blocks {
        Blocks::Q4(blocks) => pack_as::<PanelQ4, _>(blocks, in_row, panels),
        Blocks::Q4_0(blocks) => pack_as::<PanelQ4_0, _>(blocks, in_row, panels),
        Blocks::Q4_1(blocks) => pack_as::<PanelQ4, _>(blocks, in_row, panels),
        Blocks::Q8_0(blocks) => pack_as::<PanelQ8_0, _>(blocks, in_row, panels),
        Blocks::Q4K(blocks) => pack_as::<PanelQ4K, _>(blocks, in_row, panels),
        Blocks::Q5K(blocks) => pack_as::<PanelQ5K, _>(blocks, in_row, panels),
        Blocks::Q6K(blocks) => pack_as::<PanelQ6K, _>(blocks, in_row, panels),
    }
}

fn pack_as<P: Panel, B: PackInto<P>>(rows: &[B], in_row: usize, panels: &mut [u8]) {
    const { assert!(B::LEN == P::BLOCKS * BLOCK_LEN, "a panel has one block of each row") }
    split::chunks(bytemuck::cast_slice_mut::<u8, P>(panels), in_row, |group, panels| {
        let first = group * PANEL_ROWS * in_row;
        let rows = &rows[first..rows.len().min(first + PANEL_ROWS * in_row)];
        for (index, panel) in panels.iter_mut().enumerate() {
            *panel = P::zeroed();
            for (row, block) in rows[index..].iter().step_by(in_row).enumerate() {
                block.pack_into(panel, row);
            }
        }
    });
}
