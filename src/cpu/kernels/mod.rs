//! The CPU kernels, one folder or file each, named as everywhere else. The only place of the CPU path with `unsafe`.
//!
//! Every kernel takes an [`Isa`], which only detection can make, and plain row-major `f32` slices. Every output row
//! depends on its own inputs only: its bits do not change with the number of rows in a call, with the number of
//! threads, or with the instruction set; those of products of BF16 (`matmul_brain`) are the one exception to the last.
//! Kernels run on the threads of the [`Pool`] that they are called in, or on the calling thread alone where the work would
//! not pay for waking another.

mod add_assign;
mod arena;
mod attend;
mod causal_conv;
mod columns;
mod delta_rule;
mod embed;
mod exp;
mod experts;
mod gated_norm;
mod halves;
mod isa;
mod kv_block;
mod log_sum_exp;
mod matmul;
mod matmul_brain;
mod matmul_packed;
mod pool;
mod read;
mod rms_norm;
mod rope;
mod sigmoid_gate;
mod silu_mul;
mod simd;
mod split;
#[cfg(test)]
mod testing;

pub use add_assign::add_assign;
pub use arena::{Arena, PanelBox};
pub use attend::{AttendShape, attend};
pub use causal_conv::{causal_conv, conv_rows, transpose_conv_weights};
pub use delta_rule::{DELTA_CHUNK, DeltaChunk, DeltaInputs, DeltaMemory, DeltaShape, delta_rule};
pub use embed::embed;
pub use experts::{Mixed, Pick, Shared, add_experts, gather_rows, pick_experts};
pub use gated_norm::gated_norm;
pub use halves::round_to_half;
pub use isa::Isa;
pub use kv_block::{CacheType, KV_BLOCK, KvBlock, KvElements};
pub use log_sum_exp::{LogSumExp, kl_divergence, log_sum_exp};
pub use matmul::{Product, WeightSlice, Weights, matmul, matmul_each};
pub use matmul_packed::{PANEL_ROWS, PackedFormat, Panels, pack};
pub use pool::Pool;
pub use read::read;
pub use rms_norm::{rms_norm, rms_norm_in_place};
pub use rope::{RopeAngles, RopeTable, rope};
pub use sigmoid_gate::sigmoid_gate;
pub use silu_mul::silu_mul;
pub use split::map;
