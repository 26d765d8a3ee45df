//! `loquent inspect`: what is in a directory, and everything that is wrong with it.

#[cfg(feature = "gpu")]
mod gpu;
mod json;
mod outline;
mod text;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use loquent::cpu::{Footprint, Numerics};
use loquent::inspect::{InspectError, InspectOptions, InspectReport, InspectedTensor, Inspection, Statistics, picture};

use super::cache_type::Kept;
use super::dtype::Dtype;
use super::output::PendingFile;
use super::{hub, interrupt, progress};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The checkpoint's directory, converted or not, a GGUF file, a model on the Hugging Face hub,
    /// OWNER/NAME[:QUANT][@REVISION], or a configuration alone, CONFIG.json
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Predict the memory for a sequence of N tokens [default: 4096, or the model's most if that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Predict it for weights that are stored so, where there is a configuration alone [default: bf16]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Predict it for keys and values that are kept so [default: as models of these weights keep them]
    #[arg(long, value_enum, value_name = "TYPE")]
    cache_type: Option<Kept>,
    /// Say how the weights of each matrix are distributed: whether rows lie about zero, and how far out outliers lie
    #[arg(long)]
    symmetry: bool,
    /// Put the figures of DIR2, for example the same model rotated, beside those of DIR
    #[arg(long, value_name = "DIR2", requires = "symmetry")]
    compare: Option<PathBuf>,
    /// Draw how often which weights occur, by kinds of tensors
    #[arg(long, value_name = "FILE.svg", requires = "symmetry")]
    histogram: Option<PathBuf>,
    /// Write a JSON object in place of tables
    #[arg(long)]
    json: bool,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What there is to say.
struct Findings {
    report: InspectReport,
    compared: Option<InspectReport>,
    /// Whether there are statistics.
    symmetry: bool,
    /// The length of the sequence, and the memory with it; `None` if it cannot be predicted.
    memory: Option<(usize, Footprint)>,
    backends: Backends,
    seconds: f64,
}

/// What could compute, besides this machine's processor.
struct Backends {
    #[cfg(feature = "gpu")]
    gpus: gpu::Gpus,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    interrupt::watch()?;
    let begin = Instant::now();
    let directory = hub::locate(&args.directory)?;
    if outline::is_config(&directory) {
        return outline::run(args, &directory);
    }
    if args.dtype.is_some() {
        super::wrong_usage("--dtype is for a configuration alone: a checkpoint says what its weights are stored as");
    }
    let compare = args.compare.as_deref().map(hub::locate).transpose()?;
    let inspection = Inspection::plan(&directory)?;
    let other = compare.as_deref().map(Inspection::plan).transpose()?;
    let most = inspection.config().map(|config| config.max_position_embeddings);
    let context = context(args.context, most, &directory.join("config.json"))?;
    // Made first, so that a wrong path is an error at once.
    let drawing = args.histogram.as_deref().map(PendingFile::create).transpose()?;

    let options = InspectOptions::default().statistics(args.symmetry).histograms(drawing.is_some());
    let Some(report) = look(inspection, &directory, options, args.threads)? else { return Ok(interrupted()) };
    let compared = match (other, &compare) {
        (Some(other), Some(directory)) => {
            let Some(report) = look(other, directory, options, args.threads)? else { return Ok(interrupted()) };
            Some(report)
        }
        _ => None,
    };
    if let Some(drawing) = drawing {
        drawing.write(picture(&report, compared.as_ref()).as_bytes())?;
    }
    let memory = report
        .footprint(Numerics::Fast, args.cache_type.map(Kept::cache_type), context)
        .map(|footprint| (context, footprint));
    let seconds = begin.elapsed().as_secs_f64();
    let findings = Findings {
        backends: Backends {
            #[cfg(feature = "gpu")]
            gpus: gpu::Gpus::look(report.gpu_footprint(context)),
        },
        report,
        compared,
        symmetry: args.symmetry,
        memory,
        seconds,
    };
    let text = if args.json { format!("{}\n", json::object(&findings)) } else { text::tables(&findings) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if findings.problems().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How long the sequence is that is asked for; `file` says how long the model's may be at `most`, if anything does.
fn context(asked: Option<u32>, most: Option<usize>, file: &Path) -> anyhow::Result<usize> {
    const CONTEXT: usize = 4096;
    match (asked, most) {
        (None, most) => Ok(CONTEXT.min(most.unwrap_or(CONTEXT))),
        (Some(context), Some(most)) if context as usize > most => anyhow::bail!(
            "--context: expected at most {most}, the max_position_embeddings of {}, found {context}",
            file.display()
        ),
        (Some(context), _) => Ok(context as usize),
    }
}

fn interrupted() -> ExitCode {
    ExitCode::from(super::INTERRUPTED)
}

/// Reads a directory under a bar; `None` if it was interrupted.
fn look(
    inspection: Inspection,
    directory: &Path,
    options: InspectOptions,
    threads: Option<u16>,
) -> anyhow::Result<Option<InspectReport>> {
    let run =
        |tell: &(dyn Fn(u64, u64) -> _ + Sync)| inspection.run(options, |progress| tell(progress.done, progress.total));
    match progress::over_bytes(format!("reading {}", directory.display()), threads, run)? {
        Err(InspectError::Stopped) => Ok(None),
        report => Ok(Some(report?)),
    }
}

/// A tensor of the model and its figures in both directories; `None` where there are none.
struct Compared<'a> {
    tensor: &'a InspectedTensor,
    first: Option<&'a Statistics>,
    second: Option<&'a Statistics>,
}

impl Findings {
    /// Those of both directories.
    fn problems(&self) -> impl Iterator<Item = &InspectError> {
        self.reports().flat_map(|report| &report.problems)
    }

    fn warnings(&self) -> impl Iterator<Item = &InspectError> {
        self.reports().flat_map(|report| &report.warnings)
    }

    fn reports(&self) -> impl Iterator<Item = &InspectReport> {
        [&self.report].into_iter().chain(&self.compared)
    }

    /// The tensors of the model in the first directory, then those that only the second has.
    fn figures(&self) -> Vec<Compared<'_>> {
        fn used(report: &InspectReport) -> impl Iterator<Item = &InspectedTensor> {
            report.tensors.iter().filter(|tensor| tensor.purpose.is_used())
        }
        let mut others: BTreeMap<&str, &InspectedTensor> =
            self.compared.iter().flat_map(used).map(|tensor| (&*tensor.name, tensor)).collect();
        let mut figures: Vec<Compared<'_>> = Vec::new();
        for tensor in used(&self.report) {
            let other = others.remove(&*tensor.name);
            let second = other.and_then(|other| other.statistics.as_ref());
            figures.push(Compared { tensor, first: tensor.statistics.as_ref(), second });
        }
        let only = others.into_values();
        figures.extend(only.map(|tensor| Compared { tensor, first: None, second: tensor.statistics.as_ref() }));
        figures
    }
}

/// Why the model does not use a tensor; `None` where it does.
fn why_unused(tensor: &InspectedTensor) -> Option<&'static str> {
    use loquent::checkpoint::OtherModel;
    use loquent::inspect::Purpose;
    match tensor.purpose {
        Purpose::Matrix | Purpose::Vector => None,
        Purpose::Other(OtherModel::VisionTower) => Some("vision tower"),
        Purpose::Other(OtherModel::MultiTokenHead) => Some("multi-token head"),
        Purpose::TiedHead => Some("the embedding is the head"),
        Purpose::LeftOver => Some("no place in the model"),
        Purpose::Unknown => Some("unknown: no configuration"),
    }
}
