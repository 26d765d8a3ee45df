//! The GPU backend.

#[path = "../support/mod.rs"]
mod support;

mod device;
mod harness;
mod models;
mod shaders;
mod twins;
