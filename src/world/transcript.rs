//! A sequence's text as it is made: whole characters only, and nothing that a stop string may still claim.

use bevy_ecs::prelude::*;

use crate::checkpoint::TextStream;

/// Put beside a [`Prompt`](super::sequence::Prompt), it turns tokens into text and watches for stop strings.
#[derive(Component, Clone)]
pub struct Transcript {
    stream: TextStream,
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

/// What one more token made certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Text that nothing to come can take back.
    pub text: String,
    /// Whether a stop string was completed; it and what follows it are not in the text.
    pub stopped: bool,
}

impl Transcript {
    /// Decodes with `stream` and ends before the first of `stops`. Empty stop strings are ignored.
    #[must_use]
    pub fn new(stream: TextStream, stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { stream, stops, held: String::new(), stopped: false }
    }

    /// Takes one more token.
    pub fn push(&mut self, id: u32) -> Heard {
        let text = self.stream.push(id);
        self.held.push_str(&text);
        if let Some(start) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.stopped = true;
            self.held.truncate(start);
            return Heard { text: std::mem::take(&mut self.held), stopped: true };
        }
        let certain = self.held.len() - self.claimed();
        let rest = self.held.split_off(certain);
        Heard { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back, at the end. Nothing after a stop string.
    pub fn finish(&mut self) -> String {
        let rest = self.stream.finish();
        if self.stopped {
            return String::new();
        }
        self.held.push_str(&rest);
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of `held` that begins a stop string.
    fn claimed(&self) -> usize {
        let begins = |start: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[start..]));
        let start = self.held.char_indices().map(|(start, _)| start).find(|&start| begins(start));
        start.map_or(0, |start| self.held.len() - start)
    }
}
