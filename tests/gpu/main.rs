//! The GPU backend.

mod shaders;
