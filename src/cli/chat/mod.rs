//! `loquent chat`: talks with a model, turn by turn. The terminal is a host of the schedule like any other: the conversation is
//! a sequence in a world, told what was typed.

mod command;
mod editor;
mod host;
mod input;
mod session;
mod thoughts;
mod turn;
mod typed;
mod voice;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use loquent::prelude::*;
use loquent::world::refusal::Refusal;

use super::compute::ComputeArgs;
use super::draft::DraftArgs;
use super::ending::EndingArgs;
use super::prompt::read_messages;
use super::sampling::SamplingArgs;
use super::template::TemplateOptions;
use super::{interrupt, model};
use host::Host;
use input::Input;
use session::Session;
use voice::{Form, Voice};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint's directory, a GGUF file, or a model on the Hugging Face hub, OWNER/NAME[:QUANT][@REVISION] [default: the demo in the binary]
    #[arg(short, long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A system message to begin with
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Go on with a conversation: messages and tools in JSON, as OpenAI's API takes them
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    ending: EndingArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    draft: DraftArgs,
    /// Refuse what a full context has no room for, instead of forgetting the earliest turns
    #[arg(long)]
    no_forget: bool,
    /// Keep what is typed in a file, for the arrow keys to find next time
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Write JSON, an object an answer
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.sampling.check();
    let options = args.template.chat_options();
    let request = args.request()?;
    let input = Input::open(args.history.as_deref())?;
    interrupt::watch_while_heeded()?;
    let mut checkpoint = model::open(args.model.as_deref())?;
    if checkpoint.tokenizer.is_none() {
        bail!(Refusal::NoTokenizer { what: "a chat" });
    }
    if checkpoint.chat_template.is_none() {
        bail!(Refusal::NoChatTemplate);
    }
    args.compute.limit_context(&mut checkpoint.config)?;
    let seed = args.sampling.seed();
    let sampler = Sampler::new(args.sampling.over(&checkpoint.generation), seed)?;
    let rules = args.ending.rules(&checkpoint.generation);
    let context = checkpoint.config.max_position_embeddings;

    let mut host = Host::new(args.compute.load(checkpoint, &args.draft)?, (options, sampler, rules));
    host.guess(&args.draft, &args.compute)?;
    if !args.no_forget {
        host.forgets();
    }
    if input.is_typed() && !args.json {
        eprintln!("[seed {seed}, a context of {context} tokens; /help lists the commands]");
    }
    let form = if args.json { Form::Json } else { Form::of_stdout() };
    Session::new(host, input, Voice::new(form), seed).run(request)
}

impl Args {
    /// What to begin with, if it is anything.
    fn request(&self) -> anyhow::Result<Option<ChatRequest>> {
        let request = match &self.messages {
            Some(file) if file == Path::new("-") => super::wrong_usage("stdin is where messages of a chat are typed"),
            Some(file) => Some(read_messages(file)?),
            None => None,
        };
        Ok(match (request, &self.system) {
            (request, None) => request,
            (None, Some(system)) => Some(ChatRequest { messages: Vec::new(), tools: Vec::new() }.with_system(system)),
            (Some(request), Some(system)) => Some(request.with_system(system)),
        })
    }
}
