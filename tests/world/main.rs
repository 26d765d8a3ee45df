//! What a host sees of the world: loading, sequences, systems, models and limits.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod anything;
mod batching;
mod control;
mod conversations;
mod drafts;
mod endings;
mod front_door;
mod host;
mod limits;
mod models;
mod mtp;
mod profile;
mod sampling;
mod slicing;
mod threads;
