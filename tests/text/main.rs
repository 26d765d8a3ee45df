//! The text side of a checkpoint: tokenizer, chat template, and what its makers generate with.

#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod chat_template;
mod generation;
mod tokenizer;
