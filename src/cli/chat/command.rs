//! What was typed: something to say, or a command.

use std::path::PathBuf;

use super::typed;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Say(String),
    Command(Command),
}

/// What a conversation can be told beside messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Retry,
    Edit(Option<String>),
    System(Option<String>),
    Save(PathBuf),
    Load(PathBuf),
    Stats,
    Clear,
    Help,
    Quit,
}

/// Each command as it is typed, and what it does.
const COMMANDS: [(&str, &str, &str); 9] = [
    ("/retry", "", "answer the last message anew"),
    ("/edit", "[TEXT]", "change the last message, and have that answered instead"),
    ("/system", "[TEXT]", "show the system message, or begin a new conversation with another"),
    ("/save", "FILE", "write the conversation as JSON, for /load and --messages"),
    ("/load", "FILE", "go on with a conversation from a file, instead of this one"),
    ("/stats", "", "show how full the context is, and how fast the last turn was"),
    ("/clear", "", "forget all but the system message"),
    ("/help", "", "show this"),
    ("/quit", "", "leave, as Ctrl-D does"),
];

/// What `/help` shows.
pub(super) fn help() -> String {
    let mut text = String::new();
    for (name, argument, what) in COMMANDS {
        text += &format!("{:<16} {what}\n", format!("{name} {argument}"));
    }
    text + "//…              say something that begins with a slash\n\
        A backslash at the end of a line continues it, and so does \"\"\" until the next \"\"\".\n\
        Ctrl-C ends an answer; what there is of it stays."
}

/// The commands that begin so.
pub(super) fn beginning_with(text: &str) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|&(name, ..)| name).filter(move |name| name.starts_with(text))
}

/// What is wrong with a command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("there is no command {0}: /help lists them, and //… says what begins with a slash")]
    Unknown(String),
    #[error("{0} needs the name of a file")]
    NoFile(String),
    #[error("{0} takes nothing after it")]
    Argument(String),
}

impl Typed {
    /// Reads what was typed; `None` if that is nothing.
    pub(super) fn read(text: &str) -> Result<Option<Self>, CommandError> {
        let message = typed::message(text);
        if message.trim().is_empty() {
            return Ok(None);
        }
        if typed::quoted(text).is_some() || !message.starts_with('/') {
            return Ok(Some(Self::Say(message)));
        }
        if let Some(said) = message.strip_prefix("//") {
            return Ok(Some(Self::Say(format!("/{said}"))));
        }
        Command::read(&message).map(|command| Some(Self::Command(command)))
    }
}

impl Command {
    fn read(text: &str) -> Result<Self, CommandError> {
        let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
        let text = || argument.map(str::to_owned);
        let file = || argument.map(PathBuf::from).ok_or_else(|| CommandError::NoFile(name.to_owned()));
        let alone = |command| match argument {
            None => Ok(command),
            Some(_) => Err(CommandError::Argument(name.to_owned())),
        };
        match name {
            "/retry" => alone(Self::Retry),
            "/edit" => Ok(Self::Edit(text())),
            "/system" => Ok(Self::System(text())),
            "/save" => Ok(Self::Save(file()?)),
            "/load" => Ok(Self::Load(file()?)),
            "/stats" => alone(Self::Stats),
            "/clear" => alone(Self::Clear),
            "/help" => alone(Self::Help),
            "/quit" => alone(Self::Quit),
            _ => Err(CommandError::Unknown(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Typed {
        Typed::read(text).expect("it is right").expect("it is something")
    }

    #[test]
    fn what_begins_with_a_slash_is_a_command() {
        assert_eq!(read("/retry "), Typed::Command(Command::Retry));
        assert_eq!(read("/edit"), Typed::Command(Command::Edit(None)));
        assert_eq!(read("/edit  a b "), Typed::Command(Command::Edit(Some("a b".into()))));
        assert_eq!(read("/system one\\\ntwo"), Typed::Command(Command::System(Some("one\ntwo".into()))));
        assert_eq!(read("/save a b.json"), Typed::Command(Command::Save("a b.json".into())));
        for (name, argument, _) in COMMANDS {
            assert!(matches!(read(&format!("{name} {argument}")), Typed::Command(_)), "{name}");
        }
    }

    #[test]
    fn all_else_is_said() {
        assert_eq!(read(" /retry"), Typed::Say(" /retry".into()));
        assert_eq!(read("//retry"), Typed::Say("/retry".into()));
        assert_eq!(read("\"\"\"/retry\"\"\""), Typed::Say("/retry".into()));
        assert_eq!(read("a\\\n/b"), Typed::Say("a\n/b".into()));
        for nothing in ["", "  \n", "\"\"\"\"\"\""] {
            assert_eq!(Typed::read(nothing), Ok(None));
        }
    }

    #[test]
    fn a_wrong_command_is_named() {
        let said = |text| Typed::read(text).expect_err("it is wrong").to_string();
        assert_eq!(
            said("/usr/bin is full"),
            "there is no command /usr/bin: /help lists them, and //… says what begins with a slash"
        );
        assert_eq!(said("/load"), "/load needs the name of a file");
        assert_eq!(said("/retry now"), "/retry takes nothing after it");
    }

    #[test]
    fn commands_are_completed() {
        assert_eq!(beginning_with("/s").collect::<Vec<_>>(), ["/system", "/save", "/stats"]);
        assert_eq!(beginning_with("s").count(), 0);
    }
}
