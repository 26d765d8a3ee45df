//! The step's table: everything that shaders learn anew at each step, as `shaders/shared/table.wgsl` reads it.

use crate::sampling::Sampling;

/// The words of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    words: Vec<u32>,
    layers: usize,
    pub(super) dirty: bool,
}

/// Rows whose tokens are picked at once, at most: those of a group of logits.
pub(super) const MOST_PICKS: usize = 64;
/// Words before the places of the layers: where rows, spans, angles, logit rows and picks begin.
const HEAD: usize = 5;
/// Words of a pick.
const PICK: usize = 7;

/// A row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its token; or, with the highest bit set, where that was picked.
    pub(super) token: u32,
    pub(super) position: u32,
    pub(super) span: u32,
}

/// Rows of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_row: u32,
    pub(super) rows: u32,
    pub(super) first_position: u32,
    pub(super) since: u32,
}

/// A token that was picked at this place of the picks.
pub(super) const fn picked_at(place: u32) -> u32 {
    place | 1 << 31
}

impl Table {
    /// Begins the table of a step of so many layers.
    pub(super) fn begin(&mut self, layers: usize) {
        self.layers = layers;
        self.words.clear();
        let picks = HEAD + layers + MOST_PICKS;
        self.words.resize(picks + MOST_PICKS * PICK, 0);
        self.words[3] = (HEAD + layers) as u32;
        self.words[4] = picks as u32;
        self.dirty = true;
    }

    fn here(&self) -> u32 {
        self.words.len() as u32
    }

    pub(super) fn rows(&mut self, rows: &[Row]) {
        self.words[0] = self.here();
        self.words.extend(rows.iter().flat_map(|row| [row.token, row.position, row.span]));
    }

    pub(super) fn spans(&mut self, spans: &[Span]) {
        self.words[1] = self.here();
        let words = spans.iter().flat_map(|span| [span.first_row, span.rows, span.first_position, span.since]);
        self.words.extend(words);
    }

    /// The angles of each row: cosines, then sines.
    pub(super) fn angles<'a>(&mut self, rows: impl Iterator<Item = [&'a [f32]; 2]>) {
        self.words[2] = self.here();
        for [cosines, sines] in rows {
            self.words.extend(cosines.iter().chain(sines).map(|value| value.to_bits()));
        }
    }

    /// A delta-net layer's places of each span.
    pub(super) fn slots(&mut self, layer: usize, slots: impl Iterator<Item = [u32; 3]>) {
        self.words[HEAD + layer] = self.here();
        self.words.extend(slots.flatten());
    }

    /// An attention layer's blocks of each span.
    pub(super) fn blocks(&mut self, layer: usize, spans: &[Vec<u32>]) {
        self.words[HEAD + layer] = self.here();
        let mut start = self.here() + spans.len() as u32;
        for blocks in spans {
            self.words.push(start);
            start += blocks.len() as u32;
        }
        self.words.extend(spans.iter().flatten());
    }

    /// The rows whose logits are computed.
    pub(super) fn logit_rows(&mut self, rows: &[u32]) {
        let at = self.words[3] as usize;
        self.words[at..at + rows.len()].copy_from_slice(rows);
        self.dirty = true;
    }

    /// How the `index`-th token is picked from `row` of the logits, and where it goes.
    pub(super) fn pick(&mut self, index: usize, row: u32, to: u32, settings: &Sampling, random: f64) {
        let at = self.words[4] as usize + PICK * index;
        let top_k = u32::try_from(settings.top_k).unwrap_or(u32::MAX);
        let floats = [settings.top_p, settings.min_p, random as f32].map(f32::to_bits);
        self.words[at..at + 4].copy_from_slice(&[row, to, settings.temperature.to_bits(), top_k]);
        self.words[at + 4..at + PICK].copy_from_slice(&floats);
        self.dirty = true;
    }

    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(self.words.as_slice()) as u64
    }
}
