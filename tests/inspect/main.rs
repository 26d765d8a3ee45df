//! What an inspection says of directories that are well and of directories that are not.

#[path = "../support/converted.rs"]
mod converted;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod checksums;
mod command;
mod faults;
mod figures;
mod footprint;
mod outline;

use std::ops::ControlFlow;
use std::path::Path;

use loquent::inspect::{InspectError, InspectOptions, InspectReport, InspectedTensor, Inspection};
use tiny_checkpoint::TinyCheckpoint;

/// Of the tiny checkpoint: `[8, 12]`.
const MATRIX: &str = "model.layers.0.mlp.down_proj.weight";

fn inspect(directory: &Path, options: InspectOptions) -> InspectReport {
    let inspection = Inspection::plan(directory).unwrap();
    inspection.run(options, |_| ControlFlow::Continue(())).unwrap()
}

fn messages(errors: &[InspectError]) -> Vec<String> {
    errors.iter().map(InspectError::to_string).collect()
}

fn tensor<'a>(report: &'a InspectReport, name: &str) -> &'a InspectedTensor {
    report.tensors.iter().find(|tensor| tensor.entry.name == name).unwrap_or_else(|| panic!("{name} is listed"))
}

/// Asserts that these are the problems and no others: for each, a problem that contains all of its parts.
#[track_caller]
fn assert_problems(tiny: &TinyCheckpoint, expected: &[&[&str]]) -> InspectReport {
    let report = inspect(tiny.path(), InspectOptions::default());
    let problems = messages(&report.problems);
    for parts in expected {
        let is_told = |problem: &&String| parts.iter().all(|part| problem.contains(part));
        assert_eq!(problems.iter().filter(is_told).count(), 1, "{parts:?} in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    // Loading ends at the first of them, in the same words.
    match tiny.load() {
        Ok(_) => assert!(expected.is_empty(), "it loads: {problems:#?}"),
        Err(error) => assert!(problems.contains(&error.to_string()), "{error} in {problems:#?}"),
    }
    report
}
