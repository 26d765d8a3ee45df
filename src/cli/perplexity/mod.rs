//! `loquent perplexity`: how well a model predicts a text, and how far a second model is from it.

mod measured;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use loquent::checkpoint::Promotion;
use loquent::cpu::{CacheType, Numerics};
use loquent::perplexity::{PerplexityError, PerplexityProgress, Scorer, Windows};
use loquent::prelude::*;

use measured::{Found, Measured, Subject};

use super::cache_type::Kept;
use super::prompt::{read_text, token_id, tokenizer};
use super::{interrupt, model, progress};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint's directory, a GGUF file, or a model on the Hugging Face hub, OWNER/NAME[:QUANT][@REVISION] [default: the demo in the binary]
    #[arg(short, long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Tokens in a window
    #[arg(long, value_name = "N", default_value_t = 512)]
    window: usize,
    /// Tokens from the beginning of a window to that of the next, which it scores
    #[arg(long, value_name = "N", default_value_t = 256)]
    stride: usize,
    /// Read only this many tokens of the text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    max_tokens: Option<u32>,
    /// What computes: auto, cpu, gpu, or gpu:NAME with a part of an adapter's name
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: Backend,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Keep activations in f32, whatever the weights are stored as
    #[arg(long)]
    exact: bool,
    /// What keys and values are kept as [default: f16, or f32 where activations are]
    #[arg(long, value_enum, value_name = "TYPE")]
    cache_type: Option<Kept>,
    /// Measure how far a second checkpoint's predictions are from the first's
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
    /// How the second computes [default: as the first]
    #[arg(long, value_enum, requires = "compare")]
    compare_numerics: Option<Computation>,
    /// What the second keeps keys and values as [default: as the first was told]
    #[arg(long, value_enum, value_name = "TYPE", requires = "compare")]
    compare_cache_type: Option<Kept>,
    /// Fail if perplexity changes by more than this part of itself, up or down
    #[arg(long, value_name = "X", default_value_t = 0.005, requires = "compare", value_parser = threshold)]
    delta_threshold: f64,
    /// Write into the second checkpoint's index, if it was rotated, whether the change is within --delta-threshold
    #[arg(long, requires = "compare")]
    record: bool,
    /// Write a JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// Where the tokens come from.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The text, in UTF-8
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Token ids instead of text, separated by commas or white space; works without a tokenizer
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Computation {
    /// By activations in eight bits where weights are quantised, in BF16 where the processor multiplies those
    Fast,
    /// By activations in f32
    Exact,
}

fn threshold(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(threshold) if threshold >= 0.0 => Ok(threshold),
        _ => Err("expected a number of at least 0".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let windows = Windows::new(args.window, args.stride);
    let windows = windows.unwrap_or_else(|error| super::wrong_usage(&error.to_string()));
    let content = args.source.read()?;
    interrupt::watch()?;

    let record = args.compare.as_deref().filter(|_| args.record);
    // Before anything is measured in vain.
    record.map(Promotion::check).transpose()?;
    let numerics = model::numerics(args.exact);
    let mut first = Model::open(args.model.as_deref(), numerics, args.cache_type)?;
    let mut second = match &args.compare {
        None => None,
        Some(directory) => {
            let numerics = args.compare_numerics.map_or(numerics, |found| match found {
                Computation::Fast => Numerics::Fast,
                Computation::Exact => Numerics::Exact,
            });
            Some(Model::open(Some(directory), numerics, args.compare_cache_type.or(args.cache_type))?)
        }
    };
    let mut text = content.encode(&first)?;
    if let Some(second) = &second {
        first.check_comparable(second, &content, &text)?;
    }
    text.truncate(args.max_tokens.map_or(usize::MAX, |most| most as usize));

    let mut scorer = first.load(&args.backend, args.threads)?;
    let mut other = second.as_mut().map(|second| second.load(&args.backend, args.threads)).transpose()?;
    let bar = progress::bar(text.len() as u64, "scoring {bar:30} {pos}/{len} tokens, {per_sec}, {eta} left");
    let show = |found: PerplexityProgress| {
        bar.set_length(found.total as u64);
        bar.set_position(found.scored as u64);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let started = Instant::now();
    let found = match &mut other {
        None => scorer.measure(&text, windows, show).map(Found::One),
        Some(other) => Scorer::compare(&mut scorer, other, &text, windows, show).map(Found::Two),
    };
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let found = match found {
        Err(PerplexityError::Stopped) => return Ok(ExitCode::from(super::INTERRUPTED)),
        found => found.with_context(|| format!("cannot score {}", args.source.file().display()))?,
    };
    let measured = Measured {
        window: args.window,
        stride: args.stride,
        delta_threshold: args.delta_threshold,
        first: first.subject(),
        second: second.map(Model::subject),
        found,
        workers: scorer.world().resource::<Workers>(),
        seconds,
    };
    if let Some(directory) = record {
        measured.record(directory)?;
    }
    let text = if args.json { format!("{}\n", measured.json()) } else { measured.table() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if measured.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was read of the source.
enum Content {
    Text(String),
    Ids(Vec<u32>),
}

impl Source {
    fn file(&self) -> &Path {
        let file = self.ids.as_ref().or(self.text.as_ref());
        file.unwrap_or_else(|| super::wrong_usage("there is no text: give --text FILE or --ids FILE"))
    }

    fn read(&self) -> anyhow::Result<Content> {
        match self.ids {
            Some(_) => read_ids(self.file()).map(Content::Ids),
            None => read_text(self.file()).map(Content::Text),
        }
    }
}

fn read_ids(file: &Path) -> anyhow::Result<Vec<u32>> {
    let text = read_text(file)?;
    let ids = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|id| !id.is_empty());
    let id = |(index, id): (usize, &str)| {
        let shown: String = id.chars().take(20).collect();
        token_id(id).with_context(|| format!("{}: entry {index} is {shown:?}: expected a token id", file.display()))
    };
    ids.enumerate().map(id).collect()
}

impl Content {
    /// The tokens of `model`; special tokens are not added.
    fn encode(&self, model: &Model) -> anyhow::Result<Vec<u32>> {
        match self {
            Self::Ids(ids) => Ok(ids.clone()),
            Self::Text(text) => Ok(tokenizer(&model.checkpoint, "--text", "--ids")?.encode(text, false)?),
        }
    }
}

/// A model that is not loaded yet.
struct Model {
    name: String,
    numerics: Numerics,
    /// What was asked for.
    kept: Option<Kept>,
    /// What keys and values are kept as in fact.
    cache_type: CacheType,
    checkpoint: Checkpoint,
    adapter: Option<String>,
}

impl Model {
    fn open(directory: Option<&Path>, numerics: Numerics, kept: Option<Kept>) -> anyhow::Result<Self> {
        let name = directory.map_or("demo".to_owned(), |directory| directory.display().to_string());
        let (cache_type, checkpoint) = (CacheType::of(numerics), model::open(directory)?);
        Ok(Self { name, numerics, kept, cache_type, checkpoint, adapter: None })
    }

    /// Refuses, before either is loaded, models that predict different tokens.
    fn check_comparable(&self, second: &Self, content: &Content, text: &[u32]) -> anyhow::Result<()> {
        let [first_size, second_size] = [self, second].map(|model| model.checkpoint.config.vocab_size);
        if first_size != second_size {
            let (first, second) = (self.name.clone(), second.name.clone());
            bail!(PerplexityError::Vocabularies { first, first_size, second, second_size });
        }
        if second.checkpoint.tokenizer.is_some() && content.encode(second)? != text {
            bail!("{} turns the text into other tokens: expected those of {}", second.name, self.name);
        }
        Ok(())
    }

    fn load(&mut self, backend: &Backend, threads: Option<u16>) -> anyhow::Result<Scorer> {
        let config = self.checkpoint.config.clone();
        let options = model::options(backend, threads, self.numerics, self.kept);
        let loaded = model::load_tensors(&config, &mut self.checkpoint, options)?;
        self.checkpoint.warn_of_left_over();
        self.numerics = loaded.numerics();
        self.cache_type = loaded.cache_type();
        self.adapter = loaded.adapter().map(str::to_owned);
        Ok(Scorer::new(&self.name, model::world(loaded)))
    }

    fn subject(self) -> Subject {
        Subject { name: self.name, numerics: self.numerics, cache_type: self.cache_type, adapter: self.adapter }
    }
}
