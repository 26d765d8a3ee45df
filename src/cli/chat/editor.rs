//! The line editor of a terminal.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, Config, Context, Editor, Helper};

use super::{command, typed};

const PROMPT: &str = "> ";
/// Messages that the arrow keys find.
const MOST_REMEMBERED: usize = 1000;

pub(super) struct LineEditor {
    editor: Editor<Assistance, DefaultHistory>,
    /// Where what was typed is kept.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// One that knows what is in a file of this name, if there is one. Without it, all else still works.
    pub(super) fn new(history: Option<&Path>) -> anyhow::Result<Self> {
        // The answers may go elsewhere, and what is typed is still to be seen.
        let behavior = if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
        let config = Config::builder().behavior(behavior).max_history_size(MOST_REMEMBERED)?.build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Assistance(FilenameCompleter::new())));
        let history = history.filter(|file| match editor.load_history(file) {
            Err(error) if file.exists() => {
                tracing::warn!("cannot read {}, so it stays as it is: {error}", file.display());
                false
            }
            _ => true,
        });
        Ok(Self { editor, history: history.map(Path::to_owned) })
    }

    /// What is typed next, from `begun` on; nothing after Ctrl-D.
    pub(super) fn next(&mut self, begun: &str) -> anyhow::Result<Option<String>> {
        let (mut begun, mut interrupts) = (begun, 0);
        loop {
            match self.editor.readline_with_initial(PROMPT, (begun, "")) {
                Ok(text) => {
                    self.remember(&text);
                    return Ok(Some(text));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    (begun, interrupts) = ("", interrupts + 1);
                    if interrupts > 1 {
                        eprintln!("[Ctrl-D or /quit leaves]");
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text).unwrap_or(false);
        if let Some(file) = self.history.as_ref().filter(|_| added)
            && let Err(error) = self.editor.append_history(file)
        {
            tracing::warn!("cannot write {}, which is not tried again: {error}", file.display());
            self.history = None;
        }
    }
}

/// What helps whoever types: lines go on where they are not complete, and Tab completes commands and the names of files.
struct Assistance(FilenameCompleter);

impl Helper for Assistance {}

impl Highlighter for Assistance {}

impl Hinter for Assistance {
    type Hint = String;
}

impl Validator for Assistance {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_complete = typed::is_complete(context.input());
        Ok(if is_complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Assistance {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        if typed.starts_with("/save ") || typed.starts_with("/load ") {
            return self.0.complete(line, position, context);
        }
        let commands = command::beginning_with(typed).filter(|_| typed.starts_with('/'));
        let pair = |name: &str| Pair { display: name.to_owned(), replacement: name.to_owned() };
        Ok((0, commands.map(pair).collect()))
    }
}
