//! Every refusal of a checkpoint names the file, the field or tensor, what was expected and what was found.

#[path = "../support/converted.rs"]
mod converted;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod config;
mod dense_config;
mod files;
mod moe_config;
mod q4;
mod text_side;
mod weights;
