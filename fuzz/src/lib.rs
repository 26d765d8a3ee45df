//! What the targets hold files to: the same as `tests/fuzz_smoke.rs`, whose support files these are.

#[path = "../../tests/support/any_bytes.rs"]
mod any_bytes;
#[path = "../../tests/support/converted.rs"]
mod converted;
#[path = "../../tests/support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

pub use any_bytes::{config, f16, gguf, index, q4, safetensors};
