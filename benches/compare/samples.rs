//! What criterion wrote → the runs of each benchmark.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::statistics::Run;

/// The runs of every benchmark, by its name: for each round the base's and the head's, as far as there was one.
pub(crate) type Benchmarks = BTreeMap<String, Vec<(Option<Run>, Option<Run>)>>;

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Sample {
    /// Iterations in each sample.
    iters: Vec<f64>,
    /// Nanoseconds of each sample.
    times: Vec<f64>,
}

/// Reads `directory`, which holds a `base` and a `head` for each round: `<round>/<revision>` is what criterion wrote.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Benchmarks> {
    let mut benchmarks = Benchmarks::new();
    let rounds = entries(directory)?;
    for (index, round) in rounds.iter().enumerate() {
        for (name, run) in runs(&round.join("base"))? {
            benchmarks.entry(name).or_insert_with(|| vec![(None, None); rounds.len()])[index].0 = Some(run);
        }
        for (name, run) in runs(&round.join("head"))? {
            benchmarks.entry(name).or_insert_with(|| vec![(None, None); rounds.len()])[index].1 = Some(run);
        }
    }
    Ok(benchmarks)
}

/// The runs in one of criterion's directories, which is as deep as the benchmarks' names have parts.
fn runs(directory: &Path) -> anyhow::Result<Vec<(String, Run)>> {
    let mut found = Vec::new();
    for path in entries(directory)?.into_iter().filter(|path| path.is_dir()) {
        if path.ends_with("new") {
            let Benchmark { full_id } = parse(&path.join("benchmark.json"))?;
            let Sample { iters, times } = parse(&path.join("sample.json"))?;
            ensure!(iters.len() == times.len(), "{}: as many iters as times", path.join("sample.json").display());
            found.push((full_id, times.iter().zip(iters).map(|(time, iters)| time / iters).collect()));
        } else {
            found.extend(runs(&path)?);
        }
    }
    Ok(found)
}

/// What is in a directory; nothing, where there is none.
fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let reading = || format!("cannot read {}", directory.display());
    fs::read_dir(directory).with_context(reading)?.map(|entry| Ok(entry.with_context(reading)?.path())).collect()
}

fn parse<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", file.display()))
}
