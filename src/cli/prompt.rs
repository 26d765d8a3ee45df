//! Where the prompt comes from.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use loquent::checkpoint::Tokenizer;
use loquent::prelude::*;

/// The part of the command line that says what to continue.
#[derive(clap::Args)]
pub(super) struct PromptArgs {
    /// The text to continue; read from stdin if there is none
    #[arg(value_name = "PROMPT", conflicts_with_all = ["text", "file", "prompt_ids"])]
    positional: Option<String>,
    /// The text to continue, which may begin with a hyphen here
    #[arg(short = 'p', long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["file", "prompt_ids"])]
    text: Option<String>,
    /// Read the text from a file, `-` for stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "prompt_ids")]
    file: Option<PathBuf>,
    /// Token ids instead of text, such as 1,2,3; works without a tokenizer
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id)]
    prompt_ids: Option<Vec<u32>>,
    /// Put the text into the checkpoint's chat template as a user's message
    #[arg(long, conflicts_with = "prompt_ids")]
    chat: bool,
    /// A system message to precede it
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
}

impl PromptArgs {
    /// What to continue: the ids given, or the text, as it is or as a message of a conversation.
    pub(super) fn read(&self) -> anyhow::Result<Prompt> {
        if let Some(ids) = &self.prompt_ids {
            return Ok(Prompt::ids(&**ids));
        }
        let text = self.read_text()?;
        if !self.chat {
            return Ok(Prompt::text(text));
        }
        let system = self.system.iter().map(|system| ChatMessage::new("system", system));
        Ok(Prompt::chat(system.chain([ChatMessage::new("user", text)]).collect::<Vec<_>>()))
    }

    fn read_text(&self) -> anyhow::Result<String> {
        match (self.positional.as_ref().or(self.text.as_ref()), &self.file) {
            (Some(prompt), _) => Ok(prompt.clone()),
            (None, Some(file)) if file.as_os_str() != "-" => read_text(file).map(without_newline),
            (None, None) if std::io::stdin().is_terminal() => {
                super::wrong_usage("there is no prompt: give a PROMPT, -f FILE or --prompt-ids")
            }
            (None, _) => {
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read stdin")?;
                utf8(bytes, Path::new("stdin")).map(without_newline)
            }
        }
    }
}

/// What the answer continues on the screen: nothing in a chat, nor where ids were given.
pub(super) fn shown(prompt: &Prompt) -> String {
    if let Prompt::Text(text) = prompt { text.clone() } else { String::new() }
}

/// A token id, as it may stand between commas.
pub(super) fn token_id(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.trim().parse()
}

/// The checkpoint's tokenizer, which `what` needs and `instead` does not.
pub(super) fn tokenizer<'a>(checkpoint: &'a Checkpoint, what: &str, instead: &str) -> anyhow::Result<&'a Tokenizer> {
    checkpoint.tokenizer.as_ref().with_context(|| {
        format!(
            "{what} needs a tokenizer, and the checkpoint has none: expected tokenizer.json ({instead} works without)"
        )
    })
}

/// The text of a file.
pub(super) fn read_text(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    utf8(bytes, file)
}

fn utf8(bytes: Vec<u8>, file: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{} is not UTF-8 text: byte {at} is 0x{:02x}", file.display(), error.as_bytes()[at])
    })
}

/// A text without the newline that ends its last line.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
