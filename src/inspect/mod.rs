//! What is in a checkpoint's directory, whether or not it can be loaded: every tensor and what it is for, everything that
//! is wrong, a hash of each file, the memory it will take, and how the weights are distributed.
//!
//! [`Inspection::plan`] finds what can be found without looking at a weight; [`Inspection::run`] passes over the files
//! once, in pieces, in little memory.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path};
//!
//! use loquent::inspect::{Inspection, InspectOptions};
//!
//! let inspection = Inspection::plan(Path::new("Qwen3.5-0.8B"))?;
//! let report = inspection.run(InspectOptions::default(), |progress| {
//!     eprintln!("{} of {} bytes", progress.done, progress.total);
//!     ControlFlow::Continue(())
//! })?;
//! for problem in &report.problems {
//!     println!("{problem}");
//! }
//! # Ok::<(), loquent::inspect::InspectError>(())
//! ```
//!
//! An [`Outline`] predicts what a model would take of which there is a configuration alone.

#![forbid(unsafe_code)]

mod checksums;
mod error;
mod histogram;
mod input;
mod options;
mod outline;
mod pass;
mod picture;
mod plan;
mod report;
mod statistics;

pub use error::InspectError;
pub use histogram::Histogram;
pub use options::InspectOptions;
pub use outline::Outline;
pub use pass::InspectProgress;
pub use picture::picture;
pub use plan::Inspection;
pub use report::{FileReport, InspectReport, InspectedTensor, Purpose};
pub use statistics::{MATERIAL_ASYMMETRY, Statistics};
