//! `loquent bench`: how fast prompts are read and text is generated, beside how fast this machine reads memory.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::profile::{Profile, tables};
use serde_json::json;

use super::cache_type::Kept;
use super::dtype::Dtype;
use super::others::Ticks;
use super::random::RandomWeights;
use super::{interrupt, model, progress};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint's directory, a GGUF file, or a model on the Hugging Face hub, OWNER/NAME[:QUANT][@REVISION] [default: the demo in the binary]
    #[arg(short, long, value_name = "DIR", conflicts_with = "random")]
    model: Option<PathBuf>,
    /// Measure a model with random weights
    #[arg(long, requires = "config")]
    random: bool,
    /// The config.json that says which shape it has
    #[arg(long, value_name = "FILE", requires = "random")]
    config: Option<PathBuf>,
    /// What its weights are stored as
    #[arg(long, value_enum, default_value = "bf16", requires = "random")]
    dtype: Dtype,
    /// Tokens in the prompt
    #[arg(short = 'p', long, value_name = "N", default_value_t = 256)]
    n_prompt: usize,
    /// Tokens to generate
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64)]
    n_gen: usize,
    /// Sequences that are generated together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// How often to measure
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What computes: auto, cpu, gpu, or gpu:NAME with a part of an adapter's name
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: Backend,
    /// Keep activations in f32, whatever the weights are stored as
    #[arg(long)]
    exact: bool,
    /// What keys and values are kept as [default: f16, or f32 where activations are]
    #[arg(long, value_enum, value_name = "TYPE")]
    cache_type: Option<Kept>,
    /// Write JSON: a line for each repetition, then one with the medians
    #[arg(long)]
    json: bool,
    /// Print what every system cost
    #[arg(long)]
    profile: bool,
}

/// Read in each measurement of the bandwidth: more than last-level caches hold, twice over.
pub(super) const BANDWIDTH_BYTES: usize = 768 << 20;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.n_prompt == 0 && args.n_gen == 0 {
        super::wrong_usage("there is nothing to measure: -p and -n are both 0");
    }
    interrupt::watch()?;
    let mut bench = args.prepare()?;
    let bar = progress::bar(args.repetitions.into(), "measuring {bar:30} {pos}/{len}, {eta} left");
    bench.measure(args)?;
    if args.profile {
        bench.world.resource_mut::<Profile>().start(false);
    }
    let before = Ticks::now();
    for _ in 0..args.repetitions {
        let repetition = bench.measure(args)?;
        if interrupt::requested() {
            return Ok(ExitCode::from(super::INTERRUPTED));
        }
        bar.inc(1);
        if args.json {
            writeln!(std::io::stdout(), "{}", repetition.json())?;
        }
        bench.repetitions.push(repetition);
    }
    bar.finish_and_clear();
    let disturbed = Ticks::now().zip(before).and_then(|(now, before)| now.much_of_others_since(before));
    let backend = model::backend(&mut bench.world);
    let report = Report::of(&bench, args, backend);
    let text = if args.json { format!("{}\n", report.json()) } else { report.table() };
    std::io::stdout().write_all(text.as_bytes())?;
    if args.profile {
        eprintln!("{}", tables(bench.world.resource::<Profile>(), report.bandwidth.median));
        if let Some(note) = model::split_note(&bench.world) {
            eprintln!("{note}");
        }
    }
    if let Some(share) = disturbed {
        let percent = 100.0 * share;
        eprintln!(
            "warning: other processes took {percent:.0} % of the processors' time meanwhile, which slows this down"
        );
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn prepare(&self) -> anyhow::Result<Bench> {
        let options = model::options(&self.backend, self.threads, model::numerics(self.exact), self.cache_type);
        let (name, config, loaded) = if let Some(file) = &self.config {
            let config = ModelConfig::read(file)?;
            self.check_context(&config)?;
            let element = self.dtype.element();
            let loaded = model::load_tensors(&config, &mut RandomWeights { element }, options)?;
            (format!("{}, random {element}", file.display()), config, loaded)
        } else {
            let checkpoint = model::open(self.model.as_deref())?;
            let config = checkpoint.config.clone();
            self.check_context(&config)?;
            let loaded = model::load(checkpoint, options)?;
            let name = self.model.as_ref().map_or("demo".to_owned(), |model| model.display().to_string());
            (name, config, loaded)
        };
        let memory = vec![1u8; BANDWIDTH_BYTES];
        let bytes_per_token = loaded.bytes_per_token();
        let world = model::world(loaded);
        Ok(Bench { name, config, world, bytes_per_token, memory, repetitions: Vec::new(), parallel: self.parallel })
    }

    fn check_context(&self, config: &ModelConfig) -> anyhow::Result<()> {
        let (wanted, most) = (self.n_prompt.max(1).saturating_add(self.n_gen), config.max_position_embeddings);
        if wanted >= most {
            bail!(
                "-p and -n need {wanted} positions, and one more: expected less than {most}, the model's max_position_embeddings"
            );
        }
        Ok(())
    }
}

/// A model and what was measured of it.
struct Bench {
    name: String,
    config: ModelConfig,
    world: World,
    /// Weights that one token reads.
    bytes_per_token: usize,
    memory: Vec<u8>,
    repetitions: Vec<Repetition>,
    parallel: u16,
}

/// One measurement. Rates are tokens per second; bandwidth is bytes per second.
#[derive(Clone, Copy)]
struct Repetition {
    prompt: Option<f64>,
    decode: Option<f64>,
    bandwidth: f64,
    /// Of the decode steps.
    host: HostTime,
}

/// What the host does for a device in its steps, in seconds; nothing, where it computes itself.
#[derive(Clone, Copy, Default)]
struct HostTime {
    submissions: f64,
    dispatches: f64,
    encoding: f64,
    submitting: f64,
    waiting: f64,
}

impl HostTime {
    #[cfg(feature = "gpu")]
    fn of(world: &World) -> Self {
        let counts =
            world.get_resource::<loquent::gpu::GpuStep>().map(loquent::gpu::GpuStep::counts).unwrap_or_default();
        Self {
            submissions: counts.submissions as f64,
            dispatches: counts.dispatches as f64,
            encoding: counts.encoding.as_secs_f64(),
            submitting: counts.submitting.as_secs_f64(),
            waiting: counts.waiting.as_secs_f64(),
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn of(_: &World) -> Self {
        Self::default()
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            submissions: self.submissions - before.submissions,
            dispatches: self.dispatches - before.dispatches,
            encoding: self.encoding - before.encoding,
            submitting: self.submitting - before.submitting,
            waiting: self.waiting - before.waiting,
        }
    }

    /// Each number for one submission, which is a step.
    fn a_step(&self) -> Option<Self> {
        let steps = self.submissions;
        (steps > 0.0).then(|| Self {
            submissions: 1.0,
            dispatches: self.dispatches / steps,
            encoding: self.encoding / steps,
            submitting: self.submitting / steps,
            waiting: self.waiting / steps,
        })
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "dispatches": self.dispatches, "encoding_seconds": self.encoding, "submitting_seconds": self.submitting,
            "waiting_seconds": self.waiting,
        })
    }
}

impl Bench {
    /// Reads a prompt and generates from it, and reads memory in the same seconds.
    fn measure(&mut self, args: &Args) -> anyhow::Result<Repetition> {
        let vocab_size = self.config.vocab_size;
        // Neighbouring tokens land far apart in the embedding, as in text.
        let ids = (0..args.n_prompt.max(1)).map(|index| (index * 7919 % vocab_size) as u32).collect::<Vec<_>>();
        // Whatever ends texts elsewhere.
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(args.n_gen + 1) };
        let world = &mut self.world;
        let sequences: Vec<Entity> =
            (0..args.parallel).map(|_| world.spawn((Prompt::ids(ids.clone()), rules.clone())).id()).collect();
        let begun = |world: &World, &sequence: &Entity| {
            world.get::<Tokens>(sequence).is_some_and(|tokens| !tokens.generated.is_empty())
        };

        let started = Instant::now();
        while !sequences.iter().all(|sequence| begun(world, sequence)) {
            if advance(world, Budget::Step) == Progress::Idle {
                model::ensure_available(world)?;
                anyhow::bail!("the prompt could not be run");
            }
        }
        let prompt_seconds = started.elapsed().as_secs_f64();
        let bandwidth = model::bandwidth(world, &self.memory)?;
        let host = HostTime::of(world);
        let started = Instant::now();
        let before: usize = generated(world, &sequences);
        while sequences.iter().any(|&sequence| world.get::<Finished>(sequence).is_none()) && !interrupt::requested() {
            if advance(world, Budget::Step) == Progress::Idle {
                model::ensure_available(world)?;
            }
        }
        let decode_seconds = started.elapsed().as_secs_f64();
        let host = HostTime::of(world).since(&host);
        let after = model::bandwidth(world, &self.memory)?;
        let new = generated(world, &sequences) - before;
        sequences.iter().for_each(|&sequence| _ = world.despawn(sequence));
        world.resource_mut::<Messages<TokenGenerated>>().clear();
        Ok(Repetition {
            prompt: (args.n_prompt > 0).then(|| (args.n_prompt * sequences.len()) as f64 / prompt_seconds),
            decode: (args.n_gen > 0).then(|| new as f64 / decode_seconds),
            bandwidth: f64::midpoint(bandwidth, after),
            host,
        })
    }
}

/// The tokens that were generated so far.
fn generated(world: &World, sequences: &[Entity]) -> usize {
    let tokens = sequences.iter().filter_map(|&sequence| world.get::<Tokens>(sequence));
    tokens.map(|tokens| tokens.generated.len()).sum()
}

impl Repetition {
    fn json(&self) -> serde_json::Value {
        json!({
            "event": "repetition", "prefill_tokens_per_second": self.prompt, "decode_tokens_per_second": self.decode,
            "read_bandwidth_bytes_per_second": self.bandwidth,
        })
    }
}

/// The middle of some measurements, and how far they spread.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, least, most })
    }

    fn json(spread: Option<Self>) -> serde_json::Value {
        spread.map_or(serde_json::Value::Null, |spread| json!({"least": spread.least, "most": spread.most}))
    }
}

/// All there is to say at the end.
struct Report<'a> {
    bench: &'a Bench,
    prompt: Option<Spread>,
    decode: Option<Spread>,
    bandwidth: Spread,
    /// Of the bandwidth measured in the same seconds.
    share: Option<f64>,
    n_prompt: usize,
    n_gen: usize,
    /// What computed.
    backend: (&'static str, Option<String>),
}

impl<'a> Report<'a> {
    /// What the host did for a device, in the last repetition.
    fn host(&self) -> Option<HostTime> {
        self.bench.repetitions.last().and_then(|one| one.host.a_step())
    }

    fn of(bench: &'a Bench, args: &Args, backend: (&'static str, Option<String>)) -> Self {
        let each = bench.repetitions.iter();
        let bytes = bench.bytes_per_token as f64;
        let shares = each.clone().filter_map(|one| Some(one.decode? * bytes / one.bandwidth));
        let none = Spread { median: 0.0, least: 0.0, most: 0.0 };
        Self {
            bench,
            prompt: Spread::of(each.clone().filter_map(|one| one.prompt)),
            decode: Spread::of(each.clone().filter_map(|one| one.decode)),
            bandwidth: Spread::of(each.map(|one| one.bandwidth)).unwrap_or(none),
            share: Spread::of(shares).map(|share| share.median),
            n_prompt: args.n_prompt,
            n_gen: args.n_gen,
            backend,
        }
    }

    fn json(&self) -> serde_json::Value {
        let workers = self.bench.world.resource::<Workers>();
        json!({
            "event": "done", "model": self.bench.name, "backend": self.backend.0, "adapter": self.backend.1, "isa": workers.isa().to_string(),
            "threads": workers.threads(), "prompt_tokens": self.n_prompt, "new_tokens": self.n_gen,
            "parallel": self.bench.parallel, "repetitions": self.bench.repetitions.len(), "weight_bytes_per_token": self.bench.bytes_per_token,
            "prefill_tokens_per_second": self.prompt.map(|spread| spread.median),
            "prefill_spread": Spread::json(self.prompt),
            "decode_tokens_per_second": self.decode.map(|spread| spread.median),
            "decode_spread": Spread::json(self.decode),
            "read_bandwidth_bytes_per_second": self.bandwidth.median,
            "read_bandwidth_spread": Spread::json(Some(self.bandwidth)),
            "decode_bandwidth_share": self.share,
            "host_time_a_step": self.host().map(|host| host.json()),
        })
    }

    fn table(&self) -> String {
        let workers = self.bench.world.resource::<Workers>();
        let computes = match &self.backend.1 {
            Some(adapter) => adapter.clone(),
            None => format!("{} threads, {}", workers.threads(), workers.isa()),
        };
        let megabytes = self.bench.bytes_per_token as f64 / 1e6;
        let mut text = format!("{}: {megabytes:.1} MB of weights a token, {computes}\n", self.bench.name);
        let mut line = |name: String, spread: Option<Spread>, unit: &str, note: String| {
            if let Some(Spread { median, least, most }) = spread {
                text += &format!("{name:<12} {median:>9.1} {unit:<9} [{least:.1} to {most:.1}]{note}\n");
            }
        };
        line(format!("prompt {}", self.n_prompt), self.prompt, "tokens/s", String::new());
        let share = self.share.map_or(String::new(), |share| format!(", {:.0} % of the memory's speed", 100.0 * share));
        line(format!("decode {}", self.n_gen), self.decode, "tokens/s", share);
        let Spread { median, least, most } = self.bandwidth;
        let giga = Spread { median: median / 1e9, least: least / 1e9, most: most / 1e9 };
        let how = match self.backend.1 {
            Some(_) => ", read and written in copies by the device in the same seconds",
            None => ", read by the same threads in the same seconds",
        };
        line("memory".to_owned(), Some(giga), "GB/s", how.to_owned());
        if let Some(HostTime { dispatches, encoding, submitting, waiting, .. }) = self.host() {
            text += &format!(
                "host         {dispatches:.0} dispatches a step: {:.0} µs encoding, {:.0} µs submitting, {:.0} µs waiting\n",
                1e6 * encoding,
                1e6 * submitting,
                1e6 * waiting
            );
        }
        text
    }
}
