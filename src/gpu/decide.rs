//! The CPU or a GPU: what a model is computed on, and why.

use std::fmt;

use super::adapters::Adapter;
use super::choose::{GpuRequest, choose};
use super::error::GpuError;
use crate::backend::Backend;

/// What computes.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The CPU.
    Cpu {
        /// Why there is no GPU; `None` where none was asked for.
        why: Option<String>,
    },
    /// A GPU.
    Gpu {
        /// Which.
        adapter: Box<Adapter>,
        /// Why this one.
        why: String,
    },
}

/// Decides what `backend` means on this machine. [`Backend::Auto`] takes the best hardware, and the CPU where there is none
/// that the shaders run on; what is asked for by name is taken or refused.
///
/// # Errors
/// As [`choose`], where a GPU was asked for.
pub fn decide(backend: &Backend) -> Result<Decision, GpuError> {
    match backend {
        Backend::Cpu => Ok(Decision::Cpu { why: None }),
        Backend::Gpu(request) => {
            let why = match request {
                GpuRequest::Best => BEST.to_owned(),
                GpuRequest::Named(asked) => format!("asked for as {asked:?}"),
            };
            Ok(Decision::Gpu { adapter: choose(request)?.into(), why })
        }
        Backend::Auto => Ok(match choose(&GpuRequest::Best) {
            Ok(adapter) => Decision::Gpu { adapter: adapter.into(), why: BEST.to_owned() },
            Err(error) => Decision::Cpu { why: Some(error.to_string()) },
        }),
    }
}

const BEST: &str = "the best that this machine has";

impl Decision {
    /// Logs it in one line, unless there was nothing to decide.
    pub fn log(&self) {
        if !matches!(self, Self::Cpu { why: None }) {
            // The name that the program lets through by default.
            tracing::info!(target: "loquent::backend", "{self}");
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { why: None } => write!(formatter, "computing on the CPU"),
            Self::Cpu { why: Some(why) } => write!(formatter, "computing on the CPU: {why}"),
            Self::Gpu { adapter, why } => write!(formatter, "computing on {}: {why}", adapter.description),
        }
    }
}
