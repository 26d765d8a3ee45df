//! The blocks of ggml, as they lie in a GGUF file, and what their codes stand for. Fields have ggml's names; products are
//! taken in its order, in single precision.
//!
//! A row of a tensor is whole blocks. Those of 32 weights have one scale; those of 256, the "K" types, have scales of
//! their own for each 16 or 32 weights, which are small integers that the block's scale is multiplied with.

mod q4_0;
mod q4_1;
mod q4_k;
mod q5_k;
mod q6_k;
mod q8_0;
mod scales;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use q4_0::BlockQ4_0;
pub use q4_1::BlockQ4_1;
pub use q4_k::BlockQ4K;
pub use q5_k::BlockQ5K;
pub use q6_k::BlockQ6K;
pub use q8_0::BlockQ8_0;
pub(crate) use scales::scales_and_mins;

/// Weights in a block of the K types.
pub const QK_K: usize = 256;
