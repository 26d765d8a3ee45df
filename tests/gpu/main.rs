//! The GPU backend.

#[path = "../support/mod.rs"]
mod support;

mod device;
mod models;
mod shaders;
