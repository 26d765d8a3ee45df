//! A sequence's text as it is made: whole characters only, and nothing that a stop string may still claim.

use std::ops::Range;

use bevy_ecs::prelude::*;

use crate::checkpoint::TextStream;

/// Put beside a [`Prompt`](super::sequence::Prompt), it turns tokens into text and watches for stop strings.
#[derive(Component, Clone)]
pub struct Transcript {
    stream: TextStream,
    /// Stop strings that are compared with what is shown.
    stops: Vec<String>,
    /// Those that contain special tokens: compared with the text that has them in it.
    special_stops: Vec<String>,
    /// What may still become part of a stop string, special tokens included.
    held: String,
    /// Where special tokens are in it, which are not shown.
    hidden: Vec<Range<usize>>,
    stopped: bool,
    /// All that was given out.
    text: String,
}

/// What one more token made certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heard {
    /// Text that nothing to come can take back.
    pub text: String,
    /// Whether a stop string was completed; it and what follows it are not in the text.
    pub stopped: bool,
}

impl Transcript {
    /// Decodes with `stream` and ends before the first of `stops`, which may be or contain special tokens. Empty stop
    /// strings are ignored.
    #[must_use]
    pub fn new(stream: TextStream, stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty());
        let (special_stops, stops) = stops.partition(|stop| stream.has_special(stop));
        Self {
            stream,
            stops,
            special_stops,
            held: String::new(),
            hidden: Vec::new(),
            stopped: false,
            text: String::new(),
        }
    }

    /// Takes one more token.
    pub fn push(&mut self, id: u32) -> Heard {
        let text = self.stream.push(id);
        self.held.push_str(&text);
        if let Some(special) = self.stream.special(id) {
            self.hidden.push(self.held.len()..self.held.len() + special.len());
            self.held.push_str(special);
        }
        if let Some(start) = self.first(|text, stop| text.find(stop)) {
            let text = self.release(start);
            (self.stopped, self.held) = (true, String::new());
            return Heard { text, stopped: true };
        }
        let claimed = self.first(begun).unwrap_or(self.held.len());
        Heard { text: self.release(claimed), stopped: false }
    }

    /// What was held back, at the end. Nothing after a stop string.
    pub fn finish(&mut self) -> String {
        let rest = self.stream.finish();
        if self.stopped {
            return String::new();
        }
        self.held.push_str(&rest);
        self.release(self.held.len())
    }

    /// All the text that has become certain.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The earliest place in `held` where `place` sees a stop string.
    fn first(&self, place: impl Fn(&str, &str) -> Option<usize>) -> Option<usize> {
        let special = self.special_stops.iter().filter_map(|stop| place(&self.held, stop)).min();
        let shown = self.shown(self.held.len());
        let shown = self.stops.iter().filter_map(|stop| place(&shown, stop)).min();
        special.into_iter().chain(shown.map(|place| self.place_of_shown(place))).min()
    }

    /// Takes the first `length` bytes of `held`, and returns what is shown of them.
    fn release(&mut self, length: usize) -> String {
        let text = self.shown(length);
        self.held.drain(..length);
        self.hidden.retain_mut(|token| {
            *token = token.start.saturating_sub(length)..token.end.saturating_sub(length);
            token.end > 0
        });
        self.text.push_str(&text);
        text
    }

    /// What is shown of the first `length` bytes of `held`.
    fn shown(&self, length: usize) -> String {
        let mut text = String::new();
        let mut start = 0;
        for token in self.hidden.iter().take_while(|token| token.start < length) {
            text.push_str(&self.held[start..token.start]);
            start = token.end.min(length);
        }
        text + &self.held[start..length]
    }

    /// Where in `held` a place of the shown text is.
    fn place_of_shown(&self, place: usize) -> usize {
        self.hidden.iter().fold(place, |place, token| if token.start <= place { place + token.len() } else { place })
    }
}

/// Where the longest end of `text` that begins `stop` starts.
fn begun(text: &str, stop: &str) -> Option<usize> {
    text.char_indices().map(|(start, _)| start).find(|&start| stop.starts_with(&text[start..]))
}
