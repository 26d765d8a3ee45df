//! The GPU backend.

pub mod context;
pub mod shader;
pub mod variant;

pub use context::GpuContext;
