//! Sequences that are saved and restored.
#![allow(unreachable_pub, reason = "a test is no library")]

#[path = "../support/damage.rs"]
mod damage;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod conversations;
mod equality;
mod files;
mod hostile;
mod listening;
mod refusals;

/// Many times what these tests take: whoever believes a header asks for more, and the tests end.
#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 1 << 30);
