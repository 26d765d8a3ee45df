//! How well a model predicts a text, and how far a second model's predictions are from the first's.
//!
//! Perplexity is the exponential of the mean negative log-likelihood of a text's tokens, each given those before it. The
//! text is read in windows as transformers' "Perplexity of fixed-length models" does: see [`Windows`]. Every window is a
//! sequence that asks for the logits [from its first new token on](crate::world::sequence::LogitsFrom), and a system in
//! the `Sample` set scores them as they come: this is a host of the schedule like any other.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use bevy_ecs::prelude::*;
//! use loquent::checkpoint::Tokenizer;
//! use loquent::perplexity::{Scorer, Windows};
//! use loquent::prelude::*;
//!
//! let mut world = World::new();
//! let model = loquent::load(&mut world, "assets/demo", LoadOptions::default())?;
//! let text = world.get::<Tokenizer>(model).expect("a tokenizer").encode("Once upon a time", false)?;
//!
//! let mut demo = Scorer::new("the demo", world);
//! let found = demo.measure(&text, Windows::new(512, 256)?, |_| ControlFlow::Continue(()))?;
//! println!("{:.3}", found.perplexity().value);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod estimate;
mod score;
mod scorer;
mod windows;

pub use error::PerplexityError;
pub use estimate::{Comparison, Estimate, Perplexity};
pub use scorer::{PerplexityProgress, Scorer};
pub use windows::{Window, Windows};
