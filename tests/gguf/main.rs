//! GGUF files: what is in them is what was published, and whatever is wrong with one is said.

mod any_text;
#[cfg(feature = "cli")]
mod command;
mod equality;
mod mtp;
mod refusals;
mod smollm2;
mod splits;
mod tokenizer;

#[path = "../support/gguf.rs"]
mod gguf;
#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;
