//! The GPU backend.

mod choosing;
mod device;
mod shaders;
