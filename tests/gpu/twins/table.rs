//! The table of a step, built by hand.

use crate::harness::{POISON, bits};

/// Its parts.
#[derive(Clone, Default)]
pub struct Table {
    /// Token, position and span.
    pub rows: Vec<[u32; 3]>,
    /// First row, rows, first position, and rows since the state's multiple.
    pub spans: Vec<[u32; 4]>,
    /// Of each row, cosines and then sines.
    pub angles: Vec<f32>,
    pub logit_rows: Vec<u32>,
    /// Row of logits, place, temperature, top-k, top-p, min-p, random number.
    pub picks: Vec<[u32; 7]>,
    /// What a layer has of each span.
    pub layer: Layer,
}

#[derive(Clone)]
pub enum Layer {
    /// Slots of state, rows and inputs.
    Slots(Vec<[u32; 3]>),
    /// Blocks.
    Blocks(Vec<Vec<u32>>),
}

impl Default for Layer {
    fn default() -> Self {
        Self::Slots(Vec::new())
    }
}

/// The layer that tables are of: not the first, so that its number matters.
pub const LAYER: u32 = 1;

impl Table {
    pub fn words(&self) -> Vec<u32> {
        let mut words = vec![POISON; 5 + 2];
        let at = |words: &Vec<u32>| words.len() as u32;
        words[3] = at(&words);
        words.extend(&self.logit_rows);
        words[4] = at(&words);
        words.extend(self.picks.iter().flatten());
        words[2] = at(&words);
        words.extend(bits(&self.angles));
        words[5 + LAYER as usize] = at(&words);
        match &self.layer {
            Layer::Slots(slots) => words.extend(slots.iter().flatten()),
            Layer::Blocks(spans) => {
                let mut start = at(&words) + spans.len() as u32;
                for blocks in spans {
                    words.push(start);
                    start += blocks.len() as u32;
                }
                words.extend(spans.iter().flatten());
            }
        }
        words[1] = at(&words);
        words.extend(self.spans.iter().flatten());
        words[0] = at(&words);
        words.extend(self.rows.iter().flatten());
        words
    }
}
