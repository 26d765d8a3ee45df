//! What computes a model.

use std::str::FromStr;

#[cfg(feature = "gpu")]
use crate::gpu::GpuRequest;

/// What computes a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The best graphics card, or the CPU where there is none that will do.
    #[default]
    Auto,
    /// SIMD kernels on all cores.
    Cpu,
    /// A graphics card, and nothing else.
    #[cfg(feature = "gpu")]
    Gpu(GpuRequest),
}

/// Why a text names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It is no name of one.
    #[error("expected auto, cpu, gpu, or gpu:NAME with a part of an adapter's name, found {found:?}")]
    Unknown {
        /// The text.
        found: String,
    },
    /// It is the name of one that was left out.
    #[error("this program was built without the GPU backend: expected auto or cpu, found gpu")]
    WithoutGpu,
}

impl FromStr for Backend {
    type Err = BackendError;

    /// Reads `auto`, `cpu`, `gpu` or `gpu:NAME`.
    fn from_str(text: &str) -> Result<Self, BackendError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Self::gpu(None),
            _ => match text.strip_prefix("gpu:").map(str::trim) {
                Some(name) if !name.is_empty() => Self::gpu(Some(name)),
                _ => Err(BackendError::Unknown { found: text.to_owned() }),
            },
        }
    }
}

impl Backend {
    #[cfg(feature = "gpu")]
    fn gpu(name: Option<&str>) -> Result<Self, BackendError> {
        Ok(Self::Gpu(name.map_or(GpuRequest::Best, |name| GpuRequest::Named(name.to_owned()))))
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(_: Option<&str>) -> Result<Self, BackendError> {
        Err(BackendError::WithoutGpu)
    }
}
