//! Messages → the text a model was trained to see them as. Templates are written for Jinja as transformers sets it up,
//! and come with the checkpoint: they are programs by strangers, run with a bounded amount of work and memory.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, UndefinedBehavior, context};
use serde::Serialize;

use super::chat_functions;
use super::error::CheckpointError;
use super::json::{self, Fields};
use super::source::Source;

const FILE: &str = "chat_template.jinja";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const LARGEST_TEMPLATE: u64 = 1 << 20;
/// Lists every added token; published ones take some tens of kilobytes.
const LARGEST_TOKENIZER_CONFIG: u64 = 16 << 20;
/// Work and memory of one rendering; an instruction or 64 bytes cost one. A conversation of a million tokens fits.
const FUEL: u64 = 8 << 20;
const RECURSION: usize = 100;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What they say.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// How a conversation is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatOptions {
    /// Whether the text ends where the assistant begins to speak. On by default.
    pub add_generation_prompt: bool,
    /// Whether the assistant may think aloud first, in templates that know of it. Off by default.
    pub enable_thinking: bool,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, enable_thinking: false }
    }
}

/// A checkpoint's own template. It is compiled when it is used, so that one that cannot be does not keep others from
/// using the model without it.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    file: PathBuf,
    source: String,
    /// `bos_token`, `eos_token` and so on, as far as the tokenizer's configuration has them.
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja` or else `tokenizer_config.json`'s `chat_template`; `None` if neither has one.
    pub(super) fn load(source: Source<'_>) -> Result<Option<Self>, CheckpointError> {
        let mut template = source.text(FILE, LARGEST_TEMPLATE)?.map(|text| (source.path(FILE), text));
        let mut tokens = BTreeMap::new();
        if let Some(text) = source.text(TOKENIZER_CONFIG, LARGEST_TOKENIZER_CONFIG)? {
            let path = source.path(TOKENIZER_CONFIG);
            let value = json::parse(&path, &text)?;
            let fields = Fields::of(&path, &value)?;
            tokens = special_tokens(fields)?;
            if template.is_none() {
                template = nested_template(fields)?.map(|text| (path.clone(), text.to_owned()));
            }
        }
        // Jinja sees every line end as one line feed.
        let unified = |text: String| text.replace("\r\n", "\n").replace('\r', "\n");
        Ok(template.map(|(file, text)| Self { file, source: unified(text), tokens }))
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// If the template does not compile, fails, refuses the conversation, or takes too much work.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, CheckpointError> {
        self.render_any(messages, options)
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
        let options = ChatOptions { add_generation_prompt: false, enable_thinking: false };
        conversations.iter().find_map(|conversation| {
            let text = self.render(conversation, &options).ok()?;
            let (_, ending) = text.rsplit_once(ANSWER)?;
            let ending = ending.split(NEXT).next()?;
            (!ending.is_empty()).then(|| ending.to_owned())
        })
    }

    fn render_any(&self, messages: impl Serialize, options: &ChatOptions) -> Result<String, CheckpointError> {
        let variables = context! {
            messages => Serde(messages),
            // transformers passes these two even where there are none, and templates ask whether they are defined.
            tools => (),
            documents => (),
            add_generation_prompt => options.add_generation_prompt,
            enable_thinking => options.enable_thinking,
            ..Value::from(Serde(&self.tokens))
        };
        let render = || environment()?.template_from_named_str("chat_template", &self.source)?.render(variables);
        render().map_err(|error| CheckpointError::Template { file: self.file.clone(), message: message(&error) })
    }
}

/// An error with its causes, on one line.
fn message(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

fn special_tokens(fields: Fields<'_>) -> Result<BTreeMap<String, String>, CheckpointError> {
    let mut tokens = BTreeMap::new();
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        let text = match fields.get(name) {
            Some(serde_json::Value::Object(_)) => {
                fields.object(name)?.map(|token| token.text("content")).transpose()?.flatten()
            }
            _ => fields.text(name)?,
        };
        if let Some(text) = text {
            tokens.insert(name.to_owned(), text.to_owned());
        }
    }
    Ok(tokens)
}

/// The template in a `tokenizer_config.json`: a string, or a list of which one is named `default`.
fn nested_template(fields: Fields<'_>) -> Result<Option<&str>, CheckpointError> {
    const FIELD: &str = "chat_template";
    let templates = match fields.get(FIELD) {
        None => return Ok(None),
        Some(serde_json::Value::String(text)) => return Ok(Some(text)),
        Some(serde_json::Value::Array(templates)) => templates,
        Some(_) => return Err(fields.error(FIELD, "a string or an array of templates")),
    };
    let default = templates.iter().find(|template| template["name"] == "default");
    match default.and_then(|template| template["template"].as_str()) {
        Some(text) => Ok(Some(text)),
        None => Err(fields.error(FIELD, "a template with the name \"default\"")),
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    chat_functions::add_to(&mut environment);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    Ok(environment)
}
