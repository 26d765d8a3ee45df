//! `loquent generate`: continues a text, token by token.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use bevy_ecs::prelude::*;
use indicatif::ProgressBar;
use loquent::checkpoint::GenerationConfig;
use loquent::cpu::{Cpu, Numerics, read_bandwidth};
use loquent::prelude::*;
use loquent::schedule::profile::{Profile, chrome_trace, table};
use loquent::world::activations::Logits;
use loquent::world::refusal::Refusal;
use serde_json::json;

use super::output::{Form, Output, PendingFile};
use super::prompt::{PromptArgs, tokenizer};
use super::{Backend, bench, interrupt, model, progress};

/// New tokens where neither `-n` nor the checkpoint says how many, and nothing else ends the text.
const DEFAULT_NEW_TOKENS: usize = 512;

/// How long a call of `advance` may take: how soon Ctrl-C is noticed in the middle of a long prompt.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint's directory [default: the demo in the binary]
    #[arg(short, long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptArgs,
    /// At most this many new tokens [default: the checkpoint's, or 512, as far as the context goes]
    #[arg(short = 'n', long, value_name = "N")]
    max_tokens: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Do not end at end-of-sequence tokens
    #[arg(long)]
    ignore_eos: bool,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// What computes
    #[arg(long, value_enum, default_value = "auto")]
    backend: Backend,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Tokens of context, prompt and new ones together [default: the model's]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ctx_size: Option<u32>,
    /// Keep activations in f32; unquantised checkpoints always do
    #[arg(long)]
    exact: bool,
    /// Write JSON, an object a line
    #[arg(long)]
    json: bool,
    /// Write the logits after the prompt to a file: raw little-endian f32
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print what every system cost
    #[arg(long)]
    profile: bool,
    /// Write a timeline for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// How tokens are picked; what is not given comes from the checkpoint's generation_config.json.
#[derive(clap::Args)]
struct SamplingArgs {
    /// Seed of the random numbers [default: random]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Higher is more surprising; 0 always takes the likeliest token
    #[arg(long, visible_alias = "temp", value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Pick among this many likeliest tokens; 0 is all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Pick among the likeliest tokens that reach this probability together
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Pick among tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Divide the logits of tokens already in the prompt or the text
    #[arg(long, value_name = "R")]
    repeat_penalty: Option<f32>,
    /// Lower the logits of tokens already in the new text
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// Lower the logits of tokens for each time they are in the new text
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
}

impl SamplingArgs {
    /// The flags, over the checkpoint's defaults, over those of transformers. Sampling is on where the checkpoint says
    /// so, or a flag that only makes sense then is given.
    fn over(&self, defaults: &GenerationConfig) -> Sampling {
        let asked = self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some();
        let sampling = Sampling {
            repetition_penalty: self.repeat_penalty.or(defaults.repetition_penalty).unwrap_or(1.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            ..Sampling::default()
        };
        if !(defaults.do_sample || asked) {
            return sampling;
        }
        Sampling {
            temperature: self.temperature.or(defaults.temperature).unwrap_or(1.0),
            top_k: self.top_k.or(defaults.top_k).unwrap_or(50),
            top_p: self.top_p.or(defaults.top_p).unwrap_or(1.0),
            min_p: self.min_p.or(defaults.min_p).unwrap_or(0.0),
            ..sampling
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (Backend::Auto | Backend::Cpu) = args.backend;
    if let Err(error) = args.sampling.over(&GenerationConfig::default()).validate() {
        super::wrong_usage(&error.to_string());
    }
    let logits = args.logits.as_deref().map(PendingFile::create).transpose()?;
    let trace = args.trace.as_deref().map(PendingFile::create).transpose()?;
    let text = args.prompt.read()?;
    interrupt::watch()?;
    let started = Instant::now();
    let checkpoint = model::open(args.model.as_deref())?;
    let prompt = args.prompt.encode(text, &checkpoint)?;
    let rules = args.rules(&checkpoint, &prompt.ids)?;
    let seed = args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let sampler = Sampler::new(args.sampling.over(&checkpoint.generation), seed)?;
    let transcript = args.transcript(&checkpoint)?;

    let loaded = model::load(checkpoint, model::options(args.threads, model::numerics(args.exact)))?;
    let numerics = loaded.numerics();
    let mut world = model::world(loaded);
    let load_seconds = started.elapsed().as_secs_f64();
    if args.profile || trace.is_some() {
        world.resource_mut::<Profile>().start(trace.is_some());
    }

    let form = match (&transcript, args.json) {
        (_, true) => Form::Json,
        (Some(_), false) => Form::Text,
        (None, false) => Form::Ids,
    };
    let mut output = Output::new(form, prompt.shown);
    let sequence = world.spawn((Prompt::ids(prompt.ids), sampler, rules)).id();
    if let Some(transcript) = transcript {
        world.entity_mut(sequence).insert(transcript);
    }
    let mut run = Run { world, numerics, sequence, logits, started: Instant::now(), first_token: None };
    let reason = run.until_finished(&mut output)?;
    let rest = run.world.get_mut::<Transcript>(sequence).map(|mut transcript| transcript.finish());
    let summary = run.summary(reason, load_seconds, seed);
    output.done(&rest.unwrap_or_default(), summary.clone())?;
    if !args.json {
        eprintln!("{}", sentence(&summary));
    }
    if args.profile {
        run.print_profile();
    }
    if let Some(trace) = trace {
        trace.write(chrome_trace(&run.world.resource::<Profile>().timeline()).as_bytes())?;
    }
    Ok(if reason == "interrupted" { ExitCode::from(super::INTERRUPTED) } else { ExitCode::SUCCESS })
}

impl Args {
    /// When to stop, once it is certain that the prompt and the new tokens fit the context.
    fn rules(&self, checkpoint: &Checkpoint, prompt: &[u32]) -> anyhow::Result<StopRules> {
        let mut config = checkpoint.config.clone();
        if let Some(context) = self.ctx_size.map(|context| context as usize) {
            let most = config.max_position_embeddings;
            if context > most {
                bail!("--ctx-size is {context}: expected 1 to {most}, the model's max_position_embeddings");
            }
            config.max_position_embeddings = context;
        }
        let left = config.max_position_embeddings.saturating_sub(prompt.len());
        let usual = checkpoint.generation.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS);
        let eos = if self.ignore_eos { &[] } else { checkpoint.eos_token_ids() };
        let rules = StopRules {
            max_new_tokens: Some(self.max_tokens.unwrap_or(usual.min(left.max(1)))),
            end_tokens: Some(eos.to_vec()),
            ..StopRules::default()
        };
        Refusal::check(prompt, &config)?;
        Ok(rules)
    }

    fn transcript(&self, checkpoint: &Checkpoint) -> anyhow::Result<Option<Transcript>> {
        if !self.stop.is_empty() {
            tokenizer(checkpoint, "--stop", "--prompt-ids")?;
        }
        let stream = checkpoint.tokenizer.as_ref().map(loquent::checkpoint::Tokenizer::stream);
        Ok(stream.map(|stream| Transcript::new(stream, self.stop.clone())))
    }
}

/// A sequence on its way.
struct Run {
    world: World,
    numerics: Numerics,
    sequence: Entity,
    logits: Option<PendingFile>,
    started: Instant,
    first_token: Option<Duration>,
}

impl Run {
    /// Advances until the sequence ends, and says why it did.
    fn until_finished(&mut self, output: &mut Output) -> anyhow::Result<&'static str> {
        let bar = prompt_bar(self.prompt_tokens());
        loop {
            if interrupt::requested() {
                bar.finish_and_clear();
                return Ok("interrupted");
            }
            let progress = advance(&mut self.world, Budget::Time(PATIENCE));
            let processed = self.tokens().processed;
            bar.set_position(processed as u64);
            if self.first_token.is_none() && processed >= self.prompt_tokens() {
                bar.finish_and_clear();
                self.first_token = Some(self.started.elapsed());
                if let Some(file) = self.logits.take() {
                    file.write(bytemuck::cast_slice(self.world.resource::<Logits<Cpu>>().0.row(0)))?;
                }
            }
            let tokens: Vec<_> = self.world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
            for token in &tokens {
                output.token(token)?;
            }
            match self.world.get::<Finished>(self.sequence) {
                Some(Finished(FinishReason::Stop)) => return Ok("stop"),
                Some(Finished(FinishReason::Length)) => return Ok("length"),
                Some(Finished(FinishReason::Refused(refusal))) => bail!(refusal.clone()),
                Some(Finished(FinishReason::NonFinite)) => {
                    bail!("the model's weights overflow on this prompt: expected finite logits, found none")
                }
                Some(Finished(reason)) => bail!("the sequence ended: {reason:?}"),
                None if progress == Progress::Idle => bail!("the sequence was dropped before it ended"),
                None => {}
            }
        }
    }

    fn tokens(&self) -> &Tokens {
        self.world.get::<Tokens>(self.sequence).expect("a prompt requires its tokens")
    }

    fn prompt_tokens(&self) -> usize {
        self.tokens().prompt.len()
    }

    fn summary(&self, reason: &str, load_seconds: f64, seed: u64) -> serde_json::Value {
        let (prompt, new) = (self.prompt_tokens(), self.tokens().generated.len());
        let total = self.started.elapsed();
        let prefill = self.first_token.unwrap_or(total).as_secs_f64();
        let decode = total.as_secs_f64() - prefill;
        // The first new token comes with the prompt's last step.
        let rate = |tokens: usize, seconds: f64| if tokens > 0 { tokens as f64 / seconds } else { 0.0 };
        let workers = self.world.resource::<Workers>();
        json!({
            "event": "done", "finish_reason": reason, "prompt_tokens": prompt, "new_tokens": new,
            "load_seconds": load_seconds, "prefill_seconds": prefill, "decode_seconds": decode,
            "prefill_tokens_per_second": rate(self.tokens().processed.min(prompt), prefill),
            "decode_tokens_per_second": rate(new.saturating_sub(1), decode),
            "backend": "cpu", "numerics": model::numerics_name(self.numerics), "isa": workers.isa().to_string(),
            "threads": workers.threads(), "seed": seed,
        })
    }

    /// The table of systems, against a bandwidth measured now.
    fn print_profile(&self) {
        let memory = vec![1u8; bench::BANDWIDTH_BYTES];
        let workers = self.world.resource::<Workers>();
        let mut passes = [(); 3].map(|()| read_bandwidth(workers, &memory));
        passes.sort_by(f64::total_cmp);
        eprintln!("{}", table(self.world.resource::<Profile>().costs(), passes[1]));
    }
}

/// A bar for prompts that take several chunks.
fn prompt_bar(tokens: usize) -> ProgressBar {
    if tokens <= Limits::default().rows {
        return ProgressBar::hidden();
    }
    progress::bar(tokens as u64, "reading the prompt {bar:30} {pos}/{len}, {eta} left")
}

/// The summary for people.
fn sentence(summary: &serde_json::Value) -> String {
    let number = |field: &str| summary[field].as_f64().unwrap_or_default();
    format!(
        "[seed {}, {}: {} prompt tokens at {:.1}/s, {} new ones at {:.1}/s]",
        summary["seed"],
        summary["finish_reason"].as_str().unwrap_or("done"),
        summary["prompt_tokens"],
        number("prefill_tokens_per_second"),
        summary["new_tokens"],
        number("decode_tokens_per_second"),
    )
}
