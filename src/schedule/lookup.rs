//! Part of the `Admit` set: guesses what follows by looking up when the same tokens came before. (Prompt lookup decoding, by
//! Apoorv Saxena, and the n-gram pools of lookahead decoding, without their tables: a scan of 4096 tokens takes some µs.)

use bevy_ecs::prelude::*;

use crate::world::draft::{Draft, Drafted, MOST_DRAFTS};
use crate::world::sequence::{LogitsFrom, Running};
use crate::world::tokens::Tokens;

/// Sequences whose logits nobody wants beside what is picked from them.
type Drafting<'w> = (&'w Draft, &'w Tokens, &'w mut Drafted);

/// Guesses for each sequence that generates and asks for [`Draft::Lookup`].
pub fn look_up_drafts(mut sequences: Query<Drafting, (With<Running>, Without<LogitsFrom>)>) {
    for (&draft, tokens, mut drafted) in &mut sequences {
        if draft != Draft::Lookup || !tokens.has_read_prompt() || drafted.after == tokens.len() {
            continue;
        }
        let (text, after) = (Text(tokens), tokens.len());
        let found = text.latest_of_longest();
        let Found { follows, length } = found.unwrap_or(Found { follows: after, length: 0 });
        drafted.tokens.clear();
        drafted.tokens.extend((follows..after).take(MOST_DRAFTS).map(|place| text.at(place)));
        // A stretch that ends where it began again goes round.
        let period = after - follows;
        for place in drafted.tokens.len()..if period == 0 { 0 } else { MOST_DRAFTS } {
            let token = drafted.tokens[place - period];
            drafted.tokens.push(token);
        }
        (drafted.after, drafted.trust) = (after, length.saturating_sub(1));
    }
}

/// Where the end of a text stands earlier in it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// What follows it there.
    follows: usize,
    /// How much of the end it is.
    length: usize,
}

/// Beyond so many tokens, a longer stretch says no more.
const LONGEST: usize = MOST_DRAFTS + 1;

/// A prompt and what was generated, as one.
#[derive(Clone, Copy)]
struct Text<'a>(&'a Tokens);

impl Text<'_> {
    fn at(self, place: usize) -> u32 {
        let prompt = &self.0.prompt;
        prompt.get(place).copied().unwrap_or_else(|| self.0.generated[place - prompt.len()])
    }

    /// The longest stretch at the end that stands earlier in the text as well; of several as long, the latest.
    fn latest_of_longest(self) -> Option<Found> {
        let last = self.0.len().checked_sub(1)?;
        let token = self.at(last);
        let mut longest: Option<Found> = None;
        for place in (0..last).rev().filter(|&place| self.at(place) == token) {
            let alike = (1..LONGEST).take_while(|&back| back <= place && self.at(place - back) == self.at(last - back));
            let length = 1 + alike.count();
            if longest.as_ref().is_none_or(|found| length > found.length) {
                longest = Some(Found { follows: place + 1, length });
            }
            if length == LONGEST {
                break;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stretch_is_found_and_of_several_the_latest() {
        let found = |ids: &[u32], spoken: usize| {
            let (prompt, generated) = ids.split_at(ids.len() - spoken);
            let tokens = Tokens { prompt: prompt.to_vec(), generated: generated.to_vec(), ..Tokens::default() };
            Text(&tokens).latest_of_longest().map(|found| (found.follows, found.length))
        };
        assert_eq!(found(&[], 0), None);
        assert_eq!(found(&[1, 2, 3], 1), None);
        assert_eq!(found(&[1, 2, 9, 3, 2, 8, 1, 2], 0), Some((2, 2)), "two tokens rather than one");
        assert_eq!(found(&[1, 2, 9, 1, 2, 8, 1, 2], 3), Some((5, 2)), "the later");
        assert_eq!(found(&[7; 40], 5), Some((39, LONGEST)));
    }
}
