//! The CPU backend: the reference, and what runs where there is no GPU. Weights are read in their storage type,
//! activations are f32 between kernels.
//!
//! | set | system |
//! |---|---|
//! | `Admit` | [`take_back`], [`cache::fill_caches`] |
//! | `Embed` | [`embed::embed_tokens`] or [`mtp::join_hidden`], [`rope::make_angles`] |
//! | `MixerNorm` | [`norm::norm_for_mixer`] |
//! | `Mixer` | [`delta_net::mix_with_delta_net`] or [`attention::mix_with_attention`] |
//! | `MlpNorm` | [`norm::norm_for_mlp`] |
//! | `Mlp` | [`mlp::run_mlp`] or [`moe::run_moe`] |
//! | `Head` | [`mtp::keep_hidden`], [`head::compute_logits`] or [`mtp::compute_draft_logits`] |
//! | `Sample` | [`pick_tokens`] |
//! | `Emit` | [`keep_states`], [`take_back_drafts`] |

pub mod attention;
mod bandwidth;
pub mod cache;
pub mod delta_net;
pub mod embed;
mod footprint;
pub mod head;
// Not part of the interface: for the benches, which measure each by itself.
#[doc(hidden)]
#[allow(unsafe_code, reason = "intrinsics, and disjoint writes from several threads")]
pub mod kernels;
mod kv_cache;
mod lazy;
pub mod mlp;
pub mod moe;
pub mod mtp;
pub mod norm;
mod pack;
pub mod rope;
mod workers;

use bevy_ecs::prelude::*;

pub use bandwidth::read_bandwidth;
pub use cache::cache_cost;
#[cfg(feature = "gpu")]
pub(crate) use footprint::activation_bytes;
pub use footprint::{Footprint, LoadedWeight};
pub use kernels::{CacheType, Isa, KvBlock, KvElements};
use kernels::{Product, Weights};
pub use kv_cache::kv_block_bytes;
pub use pack::{Matrix, Numerics, PackError, pack};
pub use workers::{Workers, WorkersError};

use crate::schedule::{
    BeginStep, EndStep, LayerPass, LayerSystems, StepSystems, choose_model, count_processed, emit_picks, keep_states,
    pick_tokens, take_back, take_back_drafts,
};
use crate::world::activations::{Logits, Normed, Residual, Rows};
use crate::world::storage::Storage;

/// Tensors as the CPU kernels read them.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;

impl Storage for Cpu {
    type Matrix = Matrix;
    type Vector = Box<[f32]>;
    type Rows = Rows;
    type DeltaBlock = Box<[f32]>;
    type KvBlock = KvBlock;
}

/// Kernels know slices only.
impl<'a> Product<'a> {
    /// A product that fills `out`, `[m, rows]`.
    #[must_use]
    pub fn new(weights: Weights<'a>, out: &'a mut Rows) -> Self {
        let stride = out.width();
        Self { weights, out: out.values_mut(), stride }
    }
}

/// Adds the CPU's systems to the sets that [`install`](crate::schedule::install) made, unless they are there. They compute
/// on the world's [`Workers`].
pub fn add_systems(world: &mut World) {
    if world.contains_resource::<Residual<Cpu>>() {
        return;
    }
    world.insert_resource(Residual::<Cpu>(Rows::default()));
    world.insert_resource(Normed::<Cpu>(Rows::default()));
    world.insert_resource(Logits::<Cpu>(Rows::default()));
    world.init_resource::<rope::RopeAngles>();
    world.schedule_scope(BeginStep, |_, schedule| {
        let caches = (take_back::<Cpu>, cache::fill_caches).chain().after(StepSystems::Draft).before(choose_model);
        schedule.add_systems((
            caches.in_set(StepSystems::Admit),
            ((embed::embed_tokens, mtp::join_hidden).chain(), rope::make_angles).in_set(StepSystems::Embed),
        ));
    });
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems((
            norm::norm_for_mixer.in_set(LayerSystems::MixerNorm),
            (delta_net::mix_with_delta_net, attention::mix_with_attention).chain().in_set(LayerSystems::Mixer),
            norm::norm_for_mlp.in_set(LayerSystems::MlpNorm),
            (mlp::run_mlp, moe::run_moe).chain().in_set(LayerSystems::Mlp),
        ));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems((
            (mtp::keep_hidden, head::compute_logits, mtp::compute_draft_logits).chain().in_set(StepSystems::Head),
            pick_tokens::<Cpu>.in_set(StepSystems::Sample),
            keep_states::<Cpu>.before(count_processed).in_set(StepSystems::Emit),
            take_back_drafts::<Cpu>.after(emit_picks).in_set(StepSystems::Emit),
        ));
    });
}
