//! `out[m, n] = Σ_k x[m, k] · weights[n, k]` with weights of few bits, packed: the fast path of every projection.
//!
//! 1. `x` is rounded to eight bits: each 32 columns of a row to `codes · step`, where `step` is the largest of them over
//!    127 ([`activations`]).
//! 2. Sixteen rows of weights lie interleaved, one a lane ([`panel`]). For each 32 columns, or as many as share a scale,
//!    the integers `Σ code_w · code_x` are exact, and `scale · step` of them is added to the sum in single precision, with
//!    a fused multiply-add; codes that count from −8 or −32 on are taken so. Where weights have a bias as well, `bias · Σ x`
//!    follows. The sum of the *rounded* `x` is taken there: what rounding changes is then multiplied by weights around
//!    zero, and not by codes that are all positive.
//! 3. Blocks of columns are added in their order.
//!
//! So a result depends on its own row of `x` and its own row of weights alone, and is the same to the last bit on every
//! instruction set and however the work is cut ([`tile`]).

mod activations;
mod dot;
mod panel;
mod panels;
#[cfg(test)]
mod tests;
mod tile;

pub(super) use activations::Activations;
pub use panel::PANEL_ROWS;
pub(super) use panels::rows;
pub use panels::{PackedFormat, Panels, pack};
