//! The token ids of a sequence, and how far the model has read them.

use std::ops::Range;

use bevy_ecs::prelude::*;

/// The token ids of a sequence.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(on_despawn = super::heard::despawned)]
pub struct Tokens {
    /// What the new ones continue, once the sequence is admitted: the prompt; in a conversation, all turns up to the answer
    /// in hand.
    pub prompt: Vec<u32>,
    /// The new ones, in order, an end-of-sequence token included.
    pub generated: Vec<u32>,
    /// How many tokens of `prompt` and then of `generated` have gone through the model into the caches.
    pub processed: usize,
    /// Which of `prompt` the model has generated itself, in turns before. A backend may read tokens of a prompt by other
    /// kernels than those that follow one another; read anew, each goes through those that it went through before.
    pub spoken: Vec<Range<usize>>,
    /// Where in `prompt` a conversation may come back to, since its next turn may be written otherwise from there on: caches
    /// keep what they hold there.
    pub keep_at: Option<usize>,
}

impl Tokens {
    /// How many there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompt.len() + self.generated.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.prompt.iter().chain(&self.generated).copied()
    }

    /// Those that have not gone through the model yet.
    pub fn unread(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter().skip(self.processed)
    }

    /// Whether there is a prompt and all of it has gone through the model.
    #[must_use]
    pub fn has_read_prompt(&self) -> bool {
        !self.is_empty() && self.processed >= self.prompt.len()
    }

    /// Whether all have gone through the model but the last one, which is about to.
    #[must_use]
    pub fn is_at_last(&self) -> bool {
        self.processed + 1 == self.len()
    }

    /// Whether the model has generated the token at `position` itself.
    #[must_use]
    pub fn is_spoken(&self, position: usize) -> bool {
        position >= self.prompt.len() || self.spoken.iter().any(|spoken| spoken.contains(&position))
    }

    /// How many of the tokens that follow those that were read come from where the first of them does, the model or its
    /// host.
    #[must_use]
    pub fn alike(&self) -> usize {
        let edges = self.spoken.iter().flat_map(|spoken| [spoken.start, spoken.end]);
        let edges = edges.chain([self.prompt.len(), self.len()]);
        edges.filter(|&edge| edge > self.processed).min().map_or(0, |edge| edge - self.processed)
    }

    /// Goes on after the first `kept` of all tokens with `new` ones, for the model to answer. What was generated is part of
    /// what it continues from then on. Returns how many of those read can stay so.
    pub fn turn(&mut self, kept: usize, new: Vec<u32>) -> usize {
        if !self.generated.is_empty() {
            self.spoken.push(self.prompt.len()..self.len());
        }
        self.prompt.append(&mut self.generated);
        self.prompt.truncate(kept);
        self.prompt.extend(new);
        self.spoken.retain_mut(|spoken| {
            spoken.end = spoken.end.min(kept);
            spoken.start < spoken.end
        });
        // Something must be read for an answer to come of it.
        self.processed.min(kept).min(self.prompt.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_keep_what_was_spoken_and_where_it_was() {
        let mut tokens = Tokens { prompt: vec![1, 2, 3], generated: vec![10, 11], processed: 4, ..Tokens::default() };
        assert_eq!(tokens.turn(5, vec![4, 5]), 4);
        assert_eq!(tokens.prompt, [1, 2, 3, 10, 11, 4, 5]);
        assert_eq!(tokens.spoken, vec![3..5; 1]);
        let spoken: Vec<bool> = (0..8).map(|position| tokens.is_spoken(position)).collect();
        assert_eq!(spoken, [false, false, false, true, true, false, false, true]);
        let alike = [0, 1, 3, 4, 5, 6, 7].map(|processed| Tokens { processed, ..tokens.clone() }.alike());
        assert_eq!(alike, [3, 2, 2, 1, 2, 1, 0]);
        tokens.processed = 7;
        assert_eq!(tokens.turn(4, vec![]), 3, "the last is read again");
        assert_eq!((tokens.prompt.as_slice(), tokens.spoken.as_slice()), (&[1, 2, 3, 10][..], &vec![3..4; 1][..]));
        assert_eq!(tokens.turn(2, vec![9]), 2);
        assert!(tokens.spoken.is_empty());
    }
}
