//! The command line: one file per subcommand. Tokens and results go to stdout, everything else to stderr.

mod bench;
mod cache_type;
mod chat;
mod compute;
mod draft;
mod dtype;
mod ending;
mod generate;
mod hub;
mod inspect;
mod interrupt;
mod model;
mod others;
mod output;
mod perplexity;
mod progress;
mod prompt;
mod quantize;
mod random;
mod sampling;
mod template;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs Qwen3.5, Qwen3 and Llama language models.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more on stderr; twice for debugging
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Fetch no model from the Hugging Face hub: what is in the cache must do [env: HF_HUB_OFFLINE=1]
    #[arg(long, global = true)]
    offline: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text, or answer in a chat
    Generate(Box<generate::Args>),
    /// Talk with a model, turn by turn
    Chat(Box<chat::Args>),
    /// Measure how fast prompts are read and text is generated
    Bench(bench::Args),
    /// Measure how well a model predicts a text, or how far another is from it
    Perplexity(perplexity::Args),
    /// Convert a checkpoint to four bits a weight
    Quantize(quantize::Args),
    /// Say what is in a checkpoint's directory, and everything that is wrong with it
    Inspect(inspect::Args),
}

/// What interrupted commands exit with, as shells expect: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    if cli.offline {
        hub::stay_offline();
    }
    let result = match cli.command {
        Command::Generate(args) => generate::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Perplexity(args) => perplexity::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Inspect(args) => inspect::run(&args),
    };
    result.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        if hub::was_interrupted(&error) { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
    })
}

/// Whether whoever read our output has seen enough, as with `| head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn log_to_stderr(verbose: u8) {
    use tracing::Level;
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    // What computes is said to everyone.
    let filter = Targets::new().with_default(level).with_target("loquent::backend", level.max(Level::INFO));
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(Level::DEBUG);
    lines.without_time().with_target(false).finish().with(filter).init();
}

/// Ends the process as clap does when the words of a command line are wrong together.
fn wrong_usage(message: &str) -> ! {
    use clap::CommandFactory;
    Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).exit()
}
