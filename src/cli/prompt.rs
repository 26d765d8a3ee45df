//! Where the prompt comes from, and the token ids it becomes.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint, Tokenizer};

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

/// What is to be continued.
pub(super) struct EncodedPrompt {
    pub(super) ids: Vec<u32>,
    /// What the answer continues on the screen: empty in a chat, and where ids were given.
    pub(super) shown: String,
}

impl PromptArgs {
    /// Reads the text, if it is text and not ids.
    pub(super) fn read(&self) -> anyhow::Result<Option<String>> {
        if self.prompt_ids.is_some() { Ok(None) } else { self.read_text().map(Some) }
    }

    /// Whether the text is a message of a conversation.
    pub(super) fn is_chat(&self) -> bool {
        self.chat
    }

    /// Turns the text, or the ids given instead, into tokens of the checkpoint.
    pub(super) fn encode(&self, text: Option<String>, checkpoint: &Checkpoint) -> anyhow::Result<EncodedPrompt> {
        let Some(text) = text else {
            return Ok(EncodedPrompt { ids: self.prompt_ids.clone().unwrap_or_default(), shown: String::new() });
        };
        let tokenizer = tokenizer(checkpoint, "a text prompt", "--prompt-ids")?;
        if !self.chat {
            return Ok(EncodedPrompt { ids: tokenizer.encode(&text, true)?, shown: text });
        }
        let Some(template) = &checkpoint.chat_template else {
            bail!(
                "--chat needs a chat template, and the checkpoint has none: expected chat_template.jinja, or chat_template in tokenizer_config.json"
            );
        };
        let system = self.system.iter().map(|system| ChatMessage::new("system", system));
        let messages: Vec<ChatMessage> = system.chain([ChatMessage::new("user", text)]).collect();
        let rendered = template.render(&messages, &ChatOptions::default())?;
        Ok(EncodedPrompt { ids: tokenizer.encode(&rendered, false)?, shown: String::new() })
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
