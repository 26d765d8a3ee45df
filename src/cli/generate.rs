//! `loquent generate`: continues a text, token by token.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use bevy_ecs::prelude::*;
use indicatif::ProgressBar;
use loquent::cpu::{CacheType, Cpu, Numerics};
use loquent::prelude::*;
use loquent::schedule::profile::{Profile, chrome_trace, html_page, tables};
use loquent::world::activations::Logits;
use loquent::world::sequence::HostLogits;
use serde_json::json;

use super::compute::ComputeArgs;
use super::draft::{self, DraftArgs};
use super::ending::{EndingArgs, INTERRUPTED};
use super::output::{Form, Output, PendingFile};
use super::prompt::{PromptArgs, shown};
use super::sampling::SamplingArgs;
use super::{bench, ending, interrupt, model, progress};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint's directory, a GGUF file, or a model on the Hugging Face hub, OWNER/NAME[:QUANT][@REVISION] [default: the demo in the binary]
    #[arg(short, long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptArgs,
    #[command(flatten)]
    ending: EndingArgs,
    /// Do not end at end-of-sequence tokens
    #[arg(long)]
    ignore_eos: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    draft: DraftArgs,
    /// Write JSON, an object a line
    #[arg(long)]
    json: bool,
    /// Write the logits after the prompt to a file: raw little-endian f32
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print what every system cost, in prompts and in generating
    #[arg(long)]
    profile: bool,
    /// Write the same as a page for a browser, with steps layer by layer and what calls spent their budgets on
    #[arg(long, value_name = "FILE")]
    profile_html: Option<PathBuf>,
    /// Write a timeline for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.sampling.check();
    let logits = args.logits.as_deref().map(PendingFile::create).transpose()?;
    let trace = args.trace.as_deref().map(PendingFile::create).transpose()?;
    let page = args.profile_html.as_deref().map(PendingFile::create).transpose()?;
    let (prompt, chat_options) = args.prompt.read()?;
    interrupt::watch()?;
    let started = Instant::now();
    let mut checkpoint = model::open(args.model.as_deref())?;
    args.compute.limit_context(&mut checkpoint.config)?;
    let seed = args.sampling.seed();
    let sampler = Sampler::new(args.sampling.over(&checkpoint.generation), seed)?;
    let rules = args.rules(&checkpoint, &prompt);
    let form = match (args.json, &checkpoint.tokenizer) {
        (true, _) => Form::Json,
        (false, Some(_)) => Form::Text,
        (false, None) => Form::Ids,
    };

    let loaded = args.compute.load(checkpoint, &args.draft)?;
    let (numerics, cache_type) = (loaded.numerics(), loaded.cache_type());
    let mut world = model::world(loaded);
    let guesses = args.draft.install(&mut world, &args.compute)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let with_timeline = trace.is_some() || page.is_some();
    if args.profile || with_timeline {
        world.resource_mut::<Profile>().start(with_timeline);
    }

    let mut output = Output::new(form, shown(&prompt));
    world.init_resource::<Rest>();
    world.add_observer(|finished: On<SequenceFinished>, mut rest: ResMut<Rest>| rest.0.clone_from(&finished.text));
    let asked = args.ending.asked();
    let sequence = world.spawn((prompt, chat_options, sampler, rules)).id();
    if let Some(guesses) = guesses {
        world.entity_mut(sequence).insert(guesses);
    }
    if logits.is_some() {
        // On a device they stay there otherwise.
        world.entity_mut(sequence).insert(HostLogits);
    }
    let mut run =
        Run { world, numerics, cache_type, sequence, asked, logits, started: Instant::now(), first_token: None };
    let reason = run.until_finished(&mut output)?;
    let rest = match run.world.get_mut::<Transcript>(sequence) {
        Some(mut transcript) if reason == INTERRUPTED => transcript.finish(),
        _ => run.world.resource::<Rest>().0.clone(),
    };
    let summary = run.summary(reason, load_seconds, seed);
    output.done(&rest, summary.clone())?;
    if !args.json {
        eprintln!("{}", sentence(&summary));
    }
    let timeline = run.world.resource_mut::<Profile>().take_timeline();
    if let Some(trace) = trace {
        trace.write(chrome_trace(&timeline).as_bytes())?;
    }
    if args.profile || page.is_some() {
        let bandwidth = run.bandwidth()?;
        let profile = run.world.resource::<Profile>();
        if args.profile {
            eprintln!("{}", tables(profile, bandwidth));
            if let Some(record) = summary.get("draft") {
                eprintln!("guesses: {}", draft::sentence(record));
            }
            if let Some(note) = model::split_note(&run.world) {
                eprintln!("{note}");
            }
        }
        if let Some(page) = page {
            let facts = facts(args, &summary, bandwidth);
            page.write(html_page(profile, &timeline, &facts, bandwidth).as_bytes())?;
        }
    }
    Ok(if reason == INTERRUPTED { ExitCode::from(super::INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The text that was held back until the end.
#[derive(Resource, Default)]
struct Rest(String);

impl Args {
    /// When to stop.
    fn rules(&self, checkpoint: &Checkpoint, prompt: &Prompt) -> StopRules {
        if !self.ignore_eos {
            checkpoint.end_tokens(prompt.is_chat()).iter().for_each(|end| tracing::info!("{end}"));
        }
        StopRules { end_tokens: self.ignore_eos.then(Vec::new), ..self.ending.rules(&checkpoint.generation) }
    }
}

/// A sequence on its way.
struct Run {
    world: World,
    numerics: Numerics,
    cache_type: CacheType,
    sequence: Entity,
    /// How many new tokens the command line asks for, if it does.
    asked: Option<usize>,
    logits: Option<PendingFile>,
    started: Instant,
    first_token: Option<Duration>,
}

impl Run {
    /// Advances until the sequence ends, and says why it did.
    fn until_finished(&mut self, output: &mut Output) -> anyhow::Result<&'static str> {
        let mut bar = None;
        let budget = model::budget(&mut self.world);
        loop {
            if interrupt::requested() {
                bar.iter().for_each(ProgressBar::finish_and_clear);
                return Ok(INTERRUPTED);
            }
            let progress = advance(&mut self.world, budget);
            // How long the prompt is, and what room it leaves, is known once it is admitted.
            let bar = bar.get_or_insert_with(|| {
                self.warn_of_room();
                progress::prompt(0, self.tokens().prompt.len())
            });
            let processed = self.tokens().processed;
            bar.set_position(processed as u64);
            if self.first_token.is_none() && processed > 0 && processed >= self.tokens().prompt.len() {
                bar.finish_and_clear();
                self.first_token = Some(self.started.elapsed());
                if let Some(file) = self.logits.take() {
                    file.write(bytemuck::cast_slice(self.world.resource::<Logits<Cpu>>().0.row(0)))?;
                    self.world.entity_mut(self.sequence).remove::<HostLogits>();
                }
            }
            let tokens: Vec<_> = self.world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
            for token in &tokens {
                output.token(token)?;
            }
            match self.world.get::<Finished>(self.sequence) {
                Some(Finished(reason)) => return ending::name(reason),
                None if progress == Progress::Idle => {
                    model::ensure_available(&mut self.world)?;
                    bail!("the sequence was dropped before it ended")
                }
                None => {}
            }
        }
    }

    /// Warns where the context is too short for what was asked for.
    fn warn_of_room(&self) {
        let Some(&Running { room, model, .. }) = self.world.get(self.sequence) else { return };
        let context = self.world.get::<ModelConfig>(model).map_or(0, |config| config.max_position_embeddings);
        if let Some(asked) = self.asked.filter(|&asked| asked > room) {
            let read = self.tokens().prompt.len();
            tracing::warn!("-n is {asked}: after {read} tokens of the prompt, a context of {context} leaves {room}");
        }
    }

    fn tokens(&self) -> &Tokens {
        self.world.get::<Tokens>(self.sequence).expect("a prompt requires its tokens")
    }

    fn summary(&mut self, reason: &str, load_seconds: f64, seed: u64) -> serde_json::Value {
        let (prompt, new) = (self.tokens().prompt.len(), self.tokens().generated.len());
        let total = self.started.elapsed();
        let prefill = self.first_token.unwrap_or(total).as_secs_f64();
        let decode = total.as_secs_f64() - prefill;
        let (backend, adapter) = model::backend(&mut self.world);
        let workers = self.world.resource::<Workers>();
        let mut summary = json!({
            "event": "done", "finish_reason": reason, "prompt_tokens": prompt, "new_tokens": new,
            "load_seconds": load_seconds, "prefill_seconds": prefill, "decode_seconds": decode,
            "prefill_tokens_per_second": ending::rate(self.tokens().processed.min(prompt), prefill),
            "decode_tokens_per_second": ending::rate(new.saturating_sub(1), decode),
            "backend": backend, "adapter": adapter, "numerics": model::numerics_name(self.numerics),
            "cache_type": self.cache_type.name(), "isa": workers.isa().to_string(),
            "threads": workers.threads(), "seed": seed,
        });
        if let Some(record) = DraftArgs::record(&self.world, self.sequence) {
            summary["draft"] = record;
        }
        summary
    }

    /// How fast memory is read now, in bytes per second.
    fn bandwidth(&mut self) -> anyhow::Result<f64> {
        let memory = vec![1u8; bench::BANDWIDTH_BYTES];
        let mut passes = [0.0; 3];
        for pass in &mut passes {
            *pass = model::bandwidth(&mut self.world, &memory)?;
        }
        passes.sort_by(f64::total_cmp);
        Ok(passes[1])
    }
}

/// What the profile's page says above all.
fn facts(args: &Args, summary: &serde_json::Value, bandwidth: f64) -> Vec<(&'static str, String)> {
    let text = |field: &str| summary[field].as_str().map(str::to_owned);
    let number = |field: &str| summary[field].as_f64().unwrap_or_default();
    let model = args.model.as_ref().map_or("the demo".to_owned(), |model| model.display().to_string());
    let computes = text("adapter")
        .unwrap_or_else(|| format!("{} threads, {}", summary["threads"], summary["isa"].as_str().unwrap_or_default()));
    let mut facts = vec![
        ("model", model),
        ("computed by", computes),
        ("activations", text("numerics").unwrap_or_default()),
        ("keys and values", text("cache_type").unwrap_or_default()),
        ("prompt tokens", format!("{} at {:.1}/s", summary["prompt_tokens"], number("prefill_tokens_per_second"))),
        ("new tokens", format!("{} at {:.1}/s", summary["new_tokens"], number("decode_tokens_per_second"))),
        ("ended by", text("finish_reason").unwrap_or_default()),
        ("memory is read at", format!("{:.1} GB/s", bandwidth / 1e9)),
    ];
    facts.extend(summary.get("draft").map(|record| ("guesses", draft::sentence(record))));
    facts
}

/// The summary for people.
fn sentence(summary: &serde_json::Value) -> String {
    let number = |field: &str| summary[field].as_f64().unwrap_or_default();
    let guesses = summary.get("draft").map(|record| format!(", {}", draft::sentence(record))).unwrap_or_default();
    format!(
        "[seed {}, {}: {} prompt tokens at {:.1}/s, {} new ones at {:.1}/s{guesses}]",
        summary["seed"],
        summary["finish_reason"].as_str().unwrap_or("done"),
        summary["prompt_tokens"],
        number("prefill_tokens_per_second"),
        summary["new_tokens"],
        number("decode_tokens_per_second"),
    )
}
