//! The GPU backend.

pub mod adapters;
pub mod choose;
pub mod context;
pub mod decide;
pub mod description;
pub mod error;
pub mod footprint;
pub mod shader;
pub mod variant;

pub use adapters::{Adapter, adapters};
pub use choose::{GpuRequest, choose};
pub use context::GpuContext;
pub use decide::{Decision, decide};
pub use description::{Description, Kind};
pub use error::GpuError;
pub use footprint::Footprint;
