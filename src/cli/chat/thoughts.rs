//! What a reasoning model thinks before it answers: what stands before `</think>`, where the prompt or the answer has begun it.

pub(super) const BEGIN: &str = "<think>";
pub(super) const END: &str = "</think>";

/// Tells thoughts from the answer as a text comes in. What may be part of a mark is held back until that is certain.
#[derive(Clone, Debug)]
pub(super) struct Thoughts {
    state: State,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is too little of the answer to know.
    Begins,
    Thinks,
    Answers,
}

/// A piece of text: what is thought, marks included, and the answer after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) thought: String,
    pub(super) said: String,
}

impl Thoughts {
    /// Of an answer whose prompt has begun to think already, or has not.
    pub(super) fn new(begun: bool) -> Self {
        Self { state: if begun { State::Thinks } else { State::Begins }, held: String::new() }
    }

    /// Takes more text, and gives out what is certain.
    pub(super) fn push(&mut self, text: &str) -> Piece {
        self.held.push_str(text);
        let begins = self.held.trim_start();
        if self.state == State::Begins && !begins.is_empty() {
            if begins.starts_with(BEGIN) {
                self.state = State::Thinks;
            } else if !BEGIN.starts_with(begins) {
                self.state = State::Answers;
            }
        }
        match self.state {
            State::Begins => Piece::default(),
            State::Thinks => self.think(),
            State::Answers => Piece { thought: String::new(), said: std::mem::take(&mut self.held) },
        }
    }

    fn think(&mut self) -> Piece {
        if let Some(start) = self.held.find(END) {
            self.state = State::Answers;
            let said = self.held.split_off(start + END.len());
            return Piece { thought: std::mem::take(&mut self.held), said };
        }
        let is_begun = |start: &usize| END.starts_with(&self.held[*start..]);
        let certain = self.held.char_indices().map(|(start, _)| start).find(is_begun).unwrap_or(self.held.len());
        let rest = self.held.split_off(certain);
        Piece { thought: std::mem::replace(&mut self.held, rest), said: String::new() }
    }

    /// What was held back, at the end.
    pub(super) fn finish(&mut self) -> Piece {
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Thinks => Piece { thought: rest, said: String::new() },
            State::Begins | State::Answers => Piece { thought: String::new(), said: rest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is thought and said, if the text comes in characters of which each is certain or is not.
    fn split(begun: bool, text: &str) -> (String, String) {
        let mut thoughts = Thoughts::new(begun);
        let mut all = Piece::default();
        let mut add = |piece: Piece| {
            assert!(piece.thought.is_empty() || all.said.is_empty(), "thoughts come first");
            all.thought += &piece.thought;
            all.said += &piece.said;
        };
        text.chars().for_each(|character| add(thoughts.push(&character.to_string())));
        add(thoughts.finish());
        let mut at_once = Thoughts::new(begun);
        let (first, rest) = (at_once.push(text), at_once.finish());
        assert_eq!((first.thought + &rest.thought, first.said + &rest.said), (all.thought.clone(), all.said.clone()));
        (all.thought, all.said)
    }

    #[test]
    fn thoughts_end_where_the_mark_says() {
        assert_eq!(split(true, "a < b\n</think>\n\nYes."), ("a < b\n</think>".into(), "\n\nYes.".into()));
        assert_eq!(split(false, "\n<think>é</think>è"), ("\n<think>é</think>".into(), "è".into()));
        assert_eq!(split(true, "never</thin"), ("never</thin".into(), String::new()));
    }

    #[test]
    fn an_answer_without_thoughts_is_one() {
        for text in ["Yes.", "<thinner>", "<think", "  ", "", "I <think>so</think>."] {
            assert_eq!(split(false, text), (String::new(), text.into()));
        }
    }

    #[test]
    fn what_is_certain_is_not_held_back() {
        let mut thoughts = Thoughts::new(true);
        assert_eq!(thoughts.push("so </").thought, "so ");
        assert_eq!(thoughts.push("b>").thought, "</b>");
        assert_eq!(thoughts.push("</think>Yes").said, "Yes");
        assert_eq!(thoughts.push("</").said, "</");
    }
}
