//! The GPU backend.

mod choosing;
mod device;
mod footprint;
mod shaders;
