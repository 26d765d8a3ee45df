//! Messages → the text a model was trained to see them as. Templates are written for Jinja as transformers sets it up,
//! and come with the checkpoint: they are programs by strangers, run with a bounded amount of work and memory.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::chat_message::ChatMessage;
use super::error::CheckpointError;
use super::jinja;
use super::source::Source;
use super::system_messages;
use super::template_args::TemplateArgs;
use super::tokenizer_config::TokenizerConfig;

const FILE: &str = "chat_template.jinja";
const LARGEST_TEMPLATE: u64 = 1 << 20;
/// How an answer begins in ChatML, on a line of its own. Jinja drops the line feed that ends a template; a template that
/// ends in this header as plain text would lose a part of it, and the model would see a prompt that it was never trained on.
const CHATML_HEADER: &str = "<|im_start|>assistant";

/// How a conversation is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatOptions {
    /// Whether the text ends where the assistant begins to speak. On by default.
    pub add_generation_prompt: bool,
    /// Whether the assistant may think aloud first, in templates that know of it. Off by default.
    pub enable_thinking: bool,
    /// The functions that the assistant may call, each as the JSON object that the template expects: usually
    /// `{"type": "function", "function": {"name": …, "description": …, "parameters": …}}`. None by default.
    pub tools: Vec<Value>,
    /// Further variables that the template knows of. None by default.
    pub template_args: TemplateArgs,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            enable_thinking: false,
            tools: Vec::new(),
            template_args: TemplateArgs::default(),
        }
    }
}

/// A checkpoint's own template. It is compiled when it is used, so that one that cannot be does not keep others from
/// using the model without it.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    file: PathBuf,
    source: String,
    /// `bos_token`, `eos_token` and so on, as far as the tokenizer's configuration has them.
    tokens: Map<String, Value>,
    /// Set when somebody was told that it refuses system messages as they were.
    told_of_merging: OnceLock<()>,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja` or else `tokenizer_config.json`'s `chat_template`; `None` if neither has one.
    pub(super) fn load(source: Source<'_>, config: &TokenizerConfig) -> Result<Option<Self>, CheckpointError> {
        let template = match source.text(FILE, LARGEST_TEMPLATE)? {
            Some(text) => Some((source.path(FILE), text)),
            None => config.chat_template()?.map(|text| (config.file.clone(), text.to_owned())),
        };
        let tokens = config.named().map(|(name, text)| (name.to_owned(), text.into())).collect();
        Ok(template.map(|(file, source)| Self { file, source, tokens, told_of_merging: OnceLock::new() }))
    }

    /// Renders a conversation.
    ///
    /// Some templates refuse a system message that is not the first message. Where one refuses the conversation as it is,
    /// the texts of all system messages are put into the first, a blank line between each, and that one before all others;
    /// the first time, a warning is logged.
    ///
    /// # Errors
    /// If the template does not compile, fails, refuses the conversation, or takes too much work.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, CheckpointError> {
        let refusal = match self.render_as_they_are(messages, options) {
            Ok(text) => return Ok(text),
            Err(refusal) => refusal,
        };
        let merged = system_messages::merged(messages);
        let Some(Ok(text)) = merged.map(|merged| self.render_as_they_are(&merged, options)) else {
            return Err(refusal);
        };
        if self.told_of_merging.set(()).is_ok() {
            tracing::warn!("{refusal}; all system messages are merged into one at the beginning");
        }
        Ok(text)
    }

    fn render_as_they_are(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, CheckpointError> {
        let tools = if options.tools.is_empty() { Value::Null } else { options.tools.clone().into() };
        let mut variables = self.tokens.clone();
        // transformers passes this one and `tools` even where there are none, and templates ask whether they are defined.
        variables.insert("documents".into(), Value::Null);
        variables.extend(options.template_args.iter());
        variables.extend(
            [
                ("messages", messages.iter().map(|message| Value::Object(message.fields().clone())).collect()),
                ("tools", tools),
                ("add_generation_prompt", options.add_generation_prompt.into()),
                ("enable_thinking", options.enable_thinking.into()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let mut text = jinja::render(&self.source, &variables)
            .map_err(|error| CheckpointError::Template { file: self.file.clone(), message: error.to_string() })?;
        let last_line = self.source.strip_suffix('\n').map(|rest| rest.strip_suffix('\r').unwrap_or(rest));
        if last_line.is_some_and(|line| line.ends_with(CHATML_HEADER)) {
            text.push('\n');
        }
        Ok(text)
    }

    /// The text with which the template ends an assistant's message, such as `<|im_end|>\n`: what it writes between the
    /// assistant's words and the next message's, or the end. `None` if it writes nothing there, loses the words, or
    /// refuses every conversation that it is tried on. Which tokens of it end a turn is for a tokenizer to say.
    pub fn assistant_ending(&self) -> Option<String> {
        const ANSWER: &str = "loquent-answer";
        const NEXT: &str = "loquent-next";
        let message = ChatMessage::new;
        let conversations = [
            vec![message("user", "u"), message("assistant", ANSWER)],
            vec![message("system", "s"), message("user", "u"), message("assistant", ANSWER)],
            // Some templates refuse an assistant that speaks last, or leave its message open.
            vec![message("user", "u"), message("assistant", ANSWER), message("user", NEXT)],
        ];
        let options = ChatOptions { add_generation_prompt: false, ..ChatOptions::default() };
        conversations.iter().find_map(|conversation| {
            let text = self.render(conversation, &options).ok()?;
            let (_, ending) = text.rsplit_once(ANSWER)?;
            let ending = ending.split(NEXT).next()?;
            (!ending.is_empty()).then(|| ending.to_owned())
        })
    }
}
