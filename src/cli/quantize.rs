//! `loquent quantize`: a checkpoint in four bits a weight.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ValueEnum;
use loquent::convert::{self, Conversion, ConvertError, ConvertOptions, ConvertReport, ConvertedTensor, Part, QuaRot};
use loquent::quant::{Deviation, Encoding, Search};
use serde_json::{Value, json};

use super::{hub, interrupt, progress};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The checkpoint's directory, a GGUF file, or a model on the Hugging Face hub, OWNER/NAME[:QUANT][@REVISION]
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The directory to make
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// What weights become
    #[arg(long, value_enum, default_value = "q4")]
    method: Method,
    /// With quarot: what the rotation is drawn from [default: 0]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// With quarot: how far a logit may be from the original model's, before weights become four bits [default: 1e-5]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    tolerance: Option<f64>,
    /// How the scale of each block is found [default: minmax; with quarot and asymmetric codes, mse]
    #[arg(long, value_enum)]
    scale: Option<Scale>,
    /// How codes are laid over the weights of a block [default: asymmetric]
    #[arg(long, value_enum)]
    encoding: Option<Codes>,
    /// Replace what is in DST, once the conversion has succeeded
    #[arg(long)]
    force: bool,
    /// Check everything but the weights, say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write a JSON object in place of the table
    #[arg(long)]
    json: bool,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// Blocks of 32 weights, each 4 bits, with a scale and a bias: 5 bits a weight
    Q4,
    /// The same after a rotation that spreads outliers over all channels
    Quarot,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scale {
    /// From the least and the largest weight
    Minmax,
    /// The one of many with the least squared error: slower, and a tenth closer
    Mse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Codes {
    /// From the least weight to the largest
    Asymmetric,
    /// About zero
    Symmetric,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    interrupt::watch()?;
    let begin = Instant::now();
    let conversion = Conversion::plan(&hub::locate(&args.source)?, &args.destination, options(args))?;
    let report = if args.dry_run { Some(conversion.report()) } else { run_under_bar(conversion, args.threads)? };
    let Some(report) = report else { return Ok(ExitCode::from(super::INTERRUPTED)) };
    let seconds = begin.elapsed().as_secs_f64();
    let text = if args.json { format!("{}\n", to_json(args, &report, seconds)) } else { table(&report, seconds) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args) -> ConvertOptions {
    let method = match args.method {
        Method::Q4 if args.seed.is_some() => super::wrong_usage("--seed is for --method quarot"),
        Method::Q4 if args.tolerance.is_some() => super::wrong_usage("--tolerance is for --method quarot"),
        Method::Q4 => convert::Method::Q4,
        Method::Quarot => {
            let default = QuaRot::default();
            let quarot = QuaRot::of(args.seed.unwrap_or(default.seed));
            convert::Method::QuaRot(quarot.tolerance(args.tolerance.unwrap_or(default.tolerance)))
        }
    };
    let default = ConvertOptions::of(method);
    let encoding = match args.encoding {
        None => default.encoding,
        Some(Codes::Asymmetric) => Encoding::Asymmetric,
        Some(Codes::Symmetric) => Encoding::Symmetric,
    };
    let search = match args.scale {
        // Symmetric codes are for programs that know no others, and find scales so.
        None if encoding == Encoding::Symmetric => Search::MinMax,
        None => default.search,
        Some(Scale::Minmax) => Search::MinMax,
        Some(Scale::Mse) => Search::LeastSquares,
    };
    default.encoding(encoding).search(search).replace(args.force)
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "not a finite number from 0 on".to_owned())
}

/// Converts under a bar; `None` if it was interrupted.
fn run_under_bar(conversion: Conversion, threads: Option<u16>) -> anyhow::Result<Option<ConvertReport>> {
    let run = |tell: &(dyn Fn(u64, u64) -> _ + Sync)| conversion.run(|progress| tell(progress.done, progress.total));
    match progress::over_bytes("quantizing".to_owned(), threads, run)? {
        Err(ConvertError::Stopped) => Ok(None),
        converted => Ok(Some(converted?)),
    }
}

/// Some tensors together.
struct Row {
    name: &'static str,
    tensors: usize,
    elements: u64,
    source: u64,
    written: u64,
    /// `None` where nothing was converted.
    deviation: Option<Deviation>,
}

impl Row {
    fn of<'a>(name: &'static str, tensors: impl Iterator<Item = &'a ConvertedTensor> + Clone) -> Self {
        let sum = |of: fn(&ConvertedTensor) -> u64| tensors.clone().map(of).sum();
        Self {
            name,
            tensors: tensors.clone().count(),
            elements: sum(|tensor| tensor.elements),
            source: sum(|tensor| tensor.source_bytes),
            written: sum(|tensor| tensor.written_bytes),
            deviation: tensors.clone().map(|tensor| tensor.deviation).sum(),
        }
    }

    /// One for each part of the model that is quantised, one for all that is not, and one for all together.
    fn all(report: &ConvertReport) -> (Vec<Self>, Self) {
        let tensors = report.tensors.iter();
        let parts = [
            ("embedding", Part::Embedding),
            ("head", Part::Head),
            ("attention", Part::Attention),
            ("delta net", Part::DeltaNet),
            ("mlp", Part::Mlp),
            ("mtp head", Part::MultiTokenHead),
        ];
        let quantized = |(name, part)| {
            Self::of(name, tensors.clone().filter(move |tensor| tensor.quantized && tensor.part == part))
        };
        let mut rows: Vec<Self> = parts.map(quantized).into();
        rows.push(Self::of("kept at f16", tensors.clone().filter(|tensor| !tensor.quantized)));
        rows.retain(|row| row.tensors > 0);
        (rows, Self::of("total", tensors.clone()))
    }

    fn ratio(&self) -> f64 {
        self.source as f64 / self.written as f64
    }

    fn bits(&self) -> f64 {
        8.0 * self.written as f64 / self.elements as f64
    }

    fn json(&self) -> Value {
        json!({
            "part": self.name,
            "tensors": self.tensors,
            "elements": self.elements,
            "source_bytes": self.source,
            "written_bytes": self.written,
            "ratio": self.ratio(),
            "bits_per_weight": self.bits(),
            "relative_rms_error": self.deviation.map(|deviation| deviation.relative_rms()),
        })
    }
}

fn to_json(args: &Args, report: &ConvertReport, seconds: f64) -> Value {
    let (rows, total) = Row::all(report);
    json!({
        "event": "done",
        "source": args.source.display().to_string(),
        "destination": args.destination.display().to_string(),
        "dry_run": args.dry_run,
        "parts": rows.iter().map(Row::json).collect::<Value>(),
        "total": total.json(),
        "logit_difference": report.logit_difference,
        "seconds": seconds,
    })
}

fn table(report: &ConvertReport, seconds: f64) -> String {
    let (rows, total) = Row::all(report);
    let mut text = format!(
        "{:<12} {:>7} {:>10} {:>10} {:>6} {:>11}",
        "part", "tensors", "source MB", "written MB", "ratio", "bits/weight"
    );
    if total.deviation.is_some() {
        text += "  error %";
    }
    for row in rows.iter().chain([&total]) {
        let (source, written) = (row.source as f64 / 1e6, row.written as f64 / 1e6);
        text += &format!(
            "\n{:<12} {:>7} {source:>10.1} {written:>10.1} {:>6.2} {:>11.2}",
            row.name,
            row.tensors,
            row.ratio(),
            row.bits(),
        );
        if let Some(deviation) = row.deviation {
            text += &format!(" {:>8.3}", 100.0 * deviation.relative_rms());
        }
    }
    if let Some(difference) = report.logit_difference {
        text += &format!("\nrotated, its logits are within {difference:.1e} of the original's in double precision");
    }
    text += &match total.deviation {
        Some(_) => format!("\n{seconds:.1} s; the error is the root mean square, relative to that of the weights\n"),
        None => "\nnothing was written\n".to_owned(),
    };
    text
}
