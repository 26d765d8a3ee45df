//! The GPU backend.
#![allow(unreachable_pub, reason = "a test is no library")]

#[path = "../support/mod.rs"]
mod support;

mod choosing;
mod conversations;
mod device;
mod diverge;
mod failing;
mod footprint;
mod harness;
mod models;
mod recordings;
mod shaders;
mod snapshots;
mod steps;
mod twins;
