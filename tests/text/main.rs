//! The text side of a checkpoint: tokenizer, and what its makers generate with.

#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod generation;
mod tokenizer;
