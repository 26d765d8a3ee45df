//! How a text longer than a window is cut.

use std::ops::Range;

use super::error::PerplexityError;

/// Windows of a fixed length that begin every `stride` tokens, as in transformers' [documentation]. Each scores the tokens
/// that no earlier one has: all but the first in the first window, `stride` in each that follows, each of which is
/// predicted from at least `window - stride` tokens before it. The last window ends with the text and may be shorter.
///
/// Where the stride is the window, windows share no token, and the first of each is not scored.
///
/// [documentation]: https://huggingface.co/docs/transformers/perplexity
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    window: usize,
    stride: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which tokens of the text it holds.
    pub tokens: Range<usize>,
    /// Which of them it scores: those to its end, and never its first.
    pub scored: Range<usize>,
}

impl Windows {
    /// Windows of `window` tokens, every `stride`.
    ///
    /// # Errors
    /// A window of less than 2, or a stride of 0 or more than the window.
    pub fn new(window: usize, stride: usize) -> Result<Self, PerplexityError> {
        if window < 2 {
            return Err(PerplexityError::WindowTooShort { found: window });
        }
        if stride == 0 || stride > window {
            return Err(PerplexityError::Stride { found: stride, window });
        }
        Ok(Self { window, stride })
    }

    /// Tokens in each window but the last.
    #[must_use]
    pub fn window(self) -> usize {
        self.window
    }

    /// The windows over a text of `tokens` tokens, in order. None if it has less than 2.
    pub fn over(self, tokens: usize) -> impl Iterator<Item = Window> {
        let mut seen = 0;
        (0..tokens)
            .step_by(self.stride)
            .map_while(move |begin| {
                if seen == tokens {
                    return None;
                }
                let end = tokens.min(begin.saturating_add(self.window));
                let scored = seen.max(begin + 1)..end;
                seen = end;
                Some(Window { tokens: begin..end, scored })
            })
            // With a stride as long as the window, the last token may be alone.
            .filter(|window| !window.scored.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(window: usize, stride: usize, tokens: usize) -> Vec<(Range<usize>, Range<usize>)> {
        let windows = Windows::new(window, stride).expect("valid");
        windows.over(tokens).map(|window| (window.tokens, window.scored)).collect()
    }

    #[test]
    fn each_scores_what_no_earlier_one_has() {
        assert_eq!(cut(8, 4, 14), [(0..8, 1..8), (4..12, 8..12), (8..14, 12..14)]);
    }

    #[test]
    fn the_end_of_the_text_is_the_end_of_the_last() {
        assert_eq!(cut(8, 4, 0), []);
        assert_eq!(cut(8, 4, 1), []);
        assert_eq!(cut(8, 4, 2), [(0..2, 1..2)]);
        assert_eq!(cut(8, 4, 7), [(0..7, 1..7)]);
        assert_eq!(cut(8, 4, 8), [(0..8, 1..8)]);
        assert_eq!(cut(8, 4, 9), [(0..8, 1..8), (4..9, 8..9)]);
        assert_eq!(cut(8, 4, 12), [(0..8, 1..8), (4..12, 8..12)]);
    }

    #[test]
    fn without_overlap_the_first_of_each_is_not_scored() {
        assert_eq!(cut(4, 4, 9), [(0..4, 1..4), (4..8, 5..8)]);
        assert_eq!(cut(4, 4, 10), [(0..4, 1..4), (4..8, 5..8), (8..10, 9..10)]);
    }

    proptest! {
        #[test]
        fn overlapping_windows_score_every_token_but_the_first_once(
            window in 2..40_usize, stride in 1..39_usize, tokens in 0..300_usize,
        ) {
            prop_assume!(stride < window);
            let mut next = 1;
            for (tokens, scored) in cut(window, stride, tokens) {
                prop_assert_eq!(scored.start, next);
                prop_assert!(tokens.len() <= window && scored.end == tokens.end);
                prop_assert!(scored.start == 1 || scored.start - tokens.start >= window - stride);
                next = scored.end;
            }
            prop_assert_eq!(next, tokens.max(1));
        }
    }
}
