//! What the command line says to the chat template.

use std::str::FromStr;

use loquent::checkpoint::TemplateArgs;
use loquent::prelude::*;
use serde_json::Value;

/// The part of the command line that a chat template knows what to do with.
#[derive(clap::Args)]
pub(super) struct TemplateOptions {
    /// Let the assistant think before it answers, if the chat template knows how
    #[arg(long, conflicts_with = "no_think")]
    think: bool,
    /// Do not let it [the default]
    #[arg(long)]
    no_think: bool,
    /// A variable of the chat template, as JSON or else as text; may be given several times
    #[arg(long, value_name = "K=V")]
    template_arg: Vec<TemplateArg>,
}

/// A variable of a template.
#[derive(Clone, Debug)]
struct TemplateArg {
    name: String,
    value: Value,
}

impl TemplateOptions {
    /// Whether anything is said.
    pub(super) fn are_given(&self) -> bool {
        self.think || self.no_think || !self.template_arg.is_empty()
    }

    /// How a conversation is rendered, its tools not yet among it.
    pub(super) fn chat_options(&self) -> ChatOptions {
        let mut template_args = TemplateArgs::default();
        for TemplateArg { name, value } in &self.template_arg {
            if let Err(reserved) = template_args.insert(name, value.clone()) {
                super::wrong_usage(&format!("{reserved} (enable_thinking by --think and --no-think)"));
            }
        }
        ChatOptions { enable_thinking: self.think, template_args, ..ChatOptions::default() }
    }
}

impl FromStr for TemplateArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        Ok(Self { name: name.to_owned(), value })
    }
}
