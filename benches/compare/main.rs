//! Says how the benchmarks of two revisions differ: what `compare.sh` ends with.

mod report;
mod samples;
mod statistics;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use report::Report;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = &arguments[..] else {
        eprintln!("usage: compare DIRECTORY\n\nIt is a part of benches/compare.sh, which fills the directory.");
        return Ok(ExitCode::from(2));
    };
    let report = Report::of(samples::read(Path::new(directory))?);
    write!(std::io::stdout(), "{report}")?;
    Ok(if report.has_regression() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
