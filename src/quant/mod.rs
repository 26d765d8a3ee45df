//! Weights in blocks: the arithmetic of `.q4` files, without the files, and of the types of ggml that we read
//! ([`ggml`]).
//!
//! Weights are taken in runs of [`BLOCK_LEN`] of the flat, row-major tensor. A [`Block`] holds a scale, a bias and a code
//! of four bits for each weight, which stands for `code · scale + bias`. The last block of a tensor may have fewer real
//! weights than slots; what the rest of its slots holds is fixed, too, so that a tensor has one encoding to the byte.
//!
//! ```
//! use loquent::quant::{Encoding, Search, dequantize, quantize};
//!
//! let weights = [5.0_f32, 6.0, 7.0];
//! let blocks = quantize(&weights, Encoding::Asymmetric, Search::MinMax)?;
//! let mut back = [0.0; 3];
//! dequantize(&blocks, 0, &mut back);
//! assert!(weights.iter().zip(back).all(|(weight, back)| (weight - back).abs() < 0.07));
//! # Ok::<(), loquent::quant::QuantError>(())
//! ```

#![forbid(unsafe_code)]

mod block;
mod blocks;
mod codes;
mod deviation;
mod encode;
pub mod ggml;
mod hadamard;
#[cfg(test)]
mod reference;
mod search;
#[cfg(test)]
mod tests;
mod weight;

pub use block::{BLOCK_LEN, Block};
pub(crate) use blocks::with_blocks;
pub use blocks::{Blocks, QuantBlock, dequantize};
pub use codes::Encoding;
pub use deviation::Deviation;
pub use encode::{QuantError, Search, quantize, quantize_into};
pub use hadamard::Rotation;
pub use weight::Weight;
