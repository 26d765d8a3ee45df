//! What a host sees of the world: loading, sequences, models and limits.

#[path = "../support/mod.rs"]
mod support;

mod front_door;
mod limits;
mod models;
