//! Where messages come from: a terminal, or lines of anything else.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use anyhow::Context;

use super::editor::LineEditor;
use super::typed;

pub(super) enum Input {
    Typed(Box<LineEditor>),
    Lines(io::StdinLock<'static>),
}

impl Input {
    /// Stdin; what is typed there is kept in a file, if one is named.
    pub(super) fn open(history: Option<&Path>) -> anyhow::Result<Self> {
        if io::stdin().is_terminal() {
            return Ok(Self::Typed(Box::new(LineEditor::new(history)?)));
        }
        Ok(Self::Lines(io::stdin().lock()))
    }

    /// Whether somebody sits there.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Self::Typed(_))
    }

    /// What comes next, which may be several lines, and nothing at the end. Whoever types goes on from `begun`.
    pub(super) fn next(&mut self, begun: &str) -> anyhow::Result<Option<String>> {
        match self {
            Self::Typed(editor) => editor.next(begun),
            Self::Lines(lines) => next_of(lines).context("cannot read stdin"),
        }
    }
}

fn next_of(mut lines: impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok((!text.is_empty()).then_some(text));
        }
        let line = line.strip_suffix('\n').unwrap_or(&line);
        text.push_str(line.strip_suffix('\r').unwrap_or(line));
        if typed::is_complete(&text) {
            return Ok(Some(text));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_one_by_one_or_as_far_as_they_go_on() {
        let mut lines = &b"one\r\n\ntwo\\\nthree\n\"\"\"\nfour\n\nfive\"\"\"\nlast\\"[..];
        let mut next = || next_of(&mut lines).expect("UTF-8");
        for expected in ["one", "", "two\\\nthree", "\"\"\"\nfour\n\nfive\"\"\"", "last\\\n"] {
            assert_eq!(next().as_deref(), Some(expected));
        }
        assert_eq!(next(), None);
        assert!(next_of(&b"\xff\n"[..]).is_err());
    }
}
