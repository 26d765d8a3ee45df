//! Turn after turn: what is typed, done.

use std::path::Path;
use std::process::ExitCode;

use loquent::prelude::*;
use serde_json::json;

use super::command::{self, Command, Typed};
use super::host::Host;
use super::input::Input;
use super::turn::Turn;
use super::typed;
use super::voice::Voice;
use crate::cli::output::PendingFile;
use crate::cli::prompt::read_messages;

pub(super) struct Session {
    host: Host,
    input: Input,
    voice: Voice,
    seed: u64,
    /// The last turn of this conversation.
    last: Option<Turn>,
    has_failed: bool,
}

/// What comes after a line.
enum Next {
    Line,
    Leave,
}

impl Session {
    pub(super) fn new(host: Host, input: Input, voice: Voice, seed: u64) -> Self {
        Self { host, input, voice, seed, last: None, has_failed: false }
    }

    /// Answers what is typed until there is nothing more, after what the conversation begins with.
    pub(super) fn run(mut self, begins: Option<ChatRequest>) -> anyhow::Result<ExitCode> {
        if let Some(request) = begins {
            let begun = self.begin(request);
            if let Some(code) = self.after(begun)? {
                return Ok(code);
            }
        }
        while let Some(text) = self.input.next("")? {
            let done = self.take(&text);
            if let Some(code) = self.after(done)? {
                return Ok(code);
            }
        }
        Ok(self.exit_code())
    }

    /// Says what went wrong, if anything did, and what to exit with, if it is time to.
    fn after(&mut self, done: anyhow::Result<Next>) -> anyhow::Result<Option<ExitCode>> {
        match done {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => return Ok(Some(self.exit_code())),
            Err(error) if crate::cli::is_closed_pipe(&error) => return Err(error),
            Err(error) => {
                self.has_failed = true;
                let message = format!("{error:#}");
                self.voice.give_up(&message)?;
                eprintln!("error: {message}");
            }
        }
        let was_interrupted = self.last.as_ref().is_some_and(Turn::was_interrupted);
        Ok((was_interrupted && !self.input.is_typed()).then(|| ExitCode::from(crate::cli::INTERRUPTED)))
    }

    /// Whoever types has seen what failed.
    fn exit_code(&self) -> ExitCode {
        if self.has_failed && !self.input.is_typed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn take(&mut self, text: &str) -> anyhow::Result<Next> {
        let command = match Typed::read(text)? {
            None => return Ok(Next::Line),
            Some(Typed::Say(text)) => {
                let turn = self.host.say(&text, &mut self.voice)?;
                return self.taken(turn);
            }
            Some(Typed::Command(command)) => command,
        };
        match command {
            Command::Retry => {
                let turn = self.host.retry(&mut self.voice)?;
                return self.taken(turn);
            }
            Command::Edit(text) => return self.edit(text),
            Command::System(None) => eprintln!("{}", self.host.system().unwrap_or("[there is no system message]")),
            Command::System(Some(text)) => {
                let tools = self.host.tools().to_vec();
                let request = ChatRequest { messages: Vec::new(), tools }.with_system(text);
                eprintln!("[a new conversation]");
                return self.begin(request);
            }
            Command::Save(file) => self.save(&file)?,
            Command::Load(file) => {
                let request = read_messages(&file)?;
                eprintln!("[a conversation of {} messages]", request.messages.len());
                return self.begin(request);
            }
            Command::Stats => self.show_stats(),
            Command::Clear => {
                self.host.clear();
                self.last = None;
                eprintln!("[a new conversation]");
            }
            Command::Help => eprintln!("{}", command::help()),
            Command::Quit => return Ok(Next::Leave),
        }
        Ok(Next::Line)
    }

    /// Goes on with another conversation, and has it answered if it waits for that.
    fn begin(&mut self, request: ChatRequest) -> anyhow::Result<Next> {
        self.last = None;
        let asked = self.host.begin(request);
        if asked.is_empty() {
            return Ok(Next::Line);
        }
        let turn = self.host.ask(asked, &mut self.voice)?;
        self.taken(turn)
    }

    fn edit(&mut self, text: Option<String>) -> anyhow::Result<Next> {
        let text = match text {
            Some(text) => text,
            None if self.input.is_typed() => {
                let begun = self.host.last_question()?.to_owned();
                match self.input.next(&begun)?.map(|text| typed::message(&text)) {
                    Some(text) if !text.trim().is_empty() => text,
                    _ => return Ok(Next::Line),
                }
            }
            None => anyhow::bail!("/edit needs a text where nobody types"),
        };
        let turn = self.host.edit(&text, &mut self.voice)?;
        self.taken(turn)
    }

    fn taken(&mut self, turn: Turn) -> anyhow::Result<Next> {
        self.voice.end(&turn, self.seed)?;
        if turn.forgotten > 0 {
            eprintln!("[the context was full, and the {} forgotten]", counted_turns(turn.forgotten));
        }
        if turn.new == 0 {
            eprintln!("[nothing was answered, and nothing of it stays]");
        } else if turn.reason == "length" {
            let why = if self.host.is_limited_to(turn.new) { "-n allows more" } else { "the context is full" };
            eprintln!("[cut off after {} tokens: {why}]", turn.new);
        }
        self.last = Some(turn);
        Ok(Next::Line)
    }

    fn save(&self, file: &Path) -> anyhow::Result<()> {
        let messages = self.host.conversation().messages();
        anyhow::ensure!(!messages.is_empty(), "there is nothing to save yet");
        let mut request = json!({"messages": messages});
        if !self.host.tools().is_empty() {
            request["tools"] = self.host.tools().into();
        }
        PendingFile::create(file)?.write(format!("{request:#}\n").as_bytes())?;
        eprintln!("[{} messages are in {}]", messages.len(), file.display());
        Ok(())
    }

    fn show_stats(&mut self) {
        let context = self.host.context();
        match &self.last {
            Some(turn) => eprintln!("{}\nseed:    {}", turn.stats(context), self.seed),
            None => eprintln!("[nothing was answered yet, in a context of {context} tokens]"),
        }
    }
}

fn counted_turns(turns: usize) -> String {
    if turns == 1 { "earliest turn is".to_owned() } else { format!("{turns} earliest turns are") }
}
