//! A checkpoint in four bits: a directory in Hugging Face form → a *converted directory*, with a `.q4` file for each
//! weight matrix, an `.f16` file for each other tensor, and an index of them.
//!
//! [`Conversion::plan`] refuses all that can be refused without looking at a weight; [`Conversion::run`] passes over the
//! weights once, in pieces, in little memory. The converted directory appears whole or not at all.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path};
//!
//! use loquent::convert::{Conversion, ConvertOptions};
//!
//! let conversion = Conversion::plan(Path::new("Qwen3.5-0.8B"), Path::new("Qwen3.5-0.8B-q4"), ConvertOptions::default())?;
//! let report = conversion.run(|progress| {
//!     eprintln!("{} of {} bytes", progress.done, progress.total);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} tensors", report.tensors.len());
//! # Ok::<(), loquent::convert::ConvertError>(())
//! ```

#![forbid(unsafe_code)]

mod change;
mod config;
mod destination;
mod error;
mod files;
mod model;
mod narrow;
mod options;
mod output;
mod pipeline;
mod plan;
mod probe;
mod progress;
mod quarot;
mod reference;
mod report;
mod texts;

pub use error::ConvertError;
pub use options::{ConvertOptions, Method, QuaRot};
pub use plan::Conversion;
pub use progress::ConvertProgress;
pub use report::{ConvertReport, ConvertedTensor, Part};
