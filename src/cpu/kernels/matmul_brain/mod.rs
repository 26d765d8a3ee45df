//! `out[m, n] = Σ_k x[m, k] · weights[n, k]` with weights in BF16, on processors that multiply those: the fast path of
//! models that are not quantised.
//!
//! 1. `x` is rounded to BF16, to the nearest and ties to even ([`brains`]).
//! 2. Each sum is kept in sixteen lanes in single precision: lane `l` adds the products of `k = 2l` and `2l + 1`, then those
//!    32 columns further, and so on, as the instruction does it: subnormal numbers count as zero, and each addition rounds
//!    to the nearest. Missing products at the end are of zeros.
//! 3. At the end the lanes are added as a tree: halves onto each other until one is left.
//!
//! So a result depends on its own row of `x` and its own row of weights alone, however the work is cut ([`tile`]). It is not
//! that of single precision, and the instruction is not defined so closely that all makers' bits must be the same.

mod brains;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;

pub(super) use brains::Brains;
#[cfg(target_arch = "x86_64")]
pub(super) use tile::rows;

/// Stable Rust has no instructions for this of other processors.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn rows(isa: super::Isa, _: &Brains, _: &[half::bf16], _: &mut super::columns::Columns<'_>) {
    unreachable!("{isa} has no products of BF16")
}
