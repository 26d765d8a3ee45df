//! Where the prompt comes from.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use loquent::checkpoint::Tokenizer;
use loquent::prelude::*;

use super::template::TemplateOptions;

/// The part of the command line that says what to continue.
#[derive(clap::Args)]
pub(super) struct PromptArgs {
    /// The text to continue; read from stdin if there is none
    #[arg(value_name = "PROMPT", conflicts_with_all = ["text", "file", "prompt_ids", "messages"])]
    positional: Option<String>,
    /// The text to continue, which may begin with a hyphen here
    #[arg(short = 'p', long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["file", "prompt_ids", "messages"])]
    text: Option<String>,
    /// Read the text from a file, `-` for stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["prompt_ids", "messages"])]
    file: Option<PathBuf>,
    /// Token ids instead of text, such as 1,2,3; works without a tokenizer
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id)]
    prompt_ids: Option<Vec<u32>>,
    /// Put the text into the checkpoint's chat template as a user's message
    #[arg(long, group = "conversation", conflicts_with = "prompt_ids")]
    chat: bool,
    /// Answer a conversation: messages and tools in JSON, as OpenAI's API takes them, `-` for stdin
    #[arg(long, value_name = "FILE", group = "conversation", conflicts_with = "prompt_ids")]
    messages: Option<PathBuf>,
    /// A system message to precede it
    #[arg(long, value_name = "TEXT", requires = "conversation")]
    system: Option<String>,
    #[command(flatten)]
    template: TemplateOptions,
}

impl PromptArgs {
    /// What to continue: the ids given, the text, as it is or as a message of a conversation, or a conversation; and how a
    /// conversation is rendered.
    pub(super) fn read(&self) -> anyhow::Result<(Prompt, ChatOptions)> {
        if self.template.are_given() && !self.chat && self.messages.is_none() {
            super::wrong_usage("--think, --no-think and --template-arg need --chat or --messages");
        }
        let mut options = self.template.chat_options();
        if let Some(ids) = &self.prompt_ids {
            return Ok((Prompt::ids(&**ids), options));
        }
        let conversation = match &self.messages {
            Some(file) => read_messages(file)?,
            None => {
                let text = self.read_text()?;
                if !self.chat {
                    return Ok((Prompt::text(text), options));
                }
                ChatRequest { messages: vec![ChatMessage::new("user", text)], tools: Vec::new() }
            }
        };
        let ChatRequest { messages, tools } = match &self.system {
            Some(system) => conversation.with_system(system),
            None => conversation,
        };
        options.tools = tools;
        Ok((Prompt::chat(messages), options))
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

/// The conversation in a file.
pub(super) fn read_messages(file: &Path) -> anyhow::Result<ChatRequest> {
    if file.as_os_str() == "-" {
        return ChatRequest::read(std::io::stdin().lock()).context("stdin");
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    ChatRequest::read(opened).with_context(|| file.display().to_string())
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
