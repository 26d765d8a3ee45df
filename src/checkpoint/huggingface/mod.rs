//! Weights as the hub has them: safetensors files, and an index where there are several.

mod safetensors;
mod shards;

pub(super) use safetensors::Entry;
pub(super) use shards::{INDEX, SINGLE, Shards, read};
