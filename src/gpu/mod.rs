//! The GPU backend: the same schedule in WGSL, through wgpu, on Metal, Vulkan and DX12. Systems record; one submits.
//!
//! | set | system |
//! |---|---|
//! | `Admit` | [`take_back`], [`caches::fill_caches`] |
//! | `Embed` | [`embed::embed_tokens`] |
//! | `MixerNorm` | within `Mixer` |
//! | `Mixer` | [`layers::mix_with_delta_net`] or [`layers::mix_with_attention`] |
//! | `MlpNorm` | within `Mlp` |
//! | `Mlp` | [`layers::run_mlp`] or [`layers::run_moe`] |
//! | `Head` | [`head::compute_logits`] |
//! | `Await` | [`head::await_answer`] |
//! | `Sample` | within `Head`; [`head::pick_from_host_logits`] where a host wants the logits |
//!
//! What a device is told is data first: [`plan`] makes a [`recording`] when the shape of a batch changes, and [`step`] sends
//! what the systems of a step enqueue of it.

pub mod adapters;
mod bandwidth;
mod buffers;
pub mod caches;
pub mod choose;
pub mod context;
pub mod decide;
pub mod description;
pub mod embed;
pub mod error;
pub mod footprint;
pub mod format;
pub mod head;
pub mod layers;
pub mod layout;
pub mod model;
mod pipelines;
pub(crate) mod places;
pub mod plan;
pub mod planes;
pub mod pool;
mod readback;
pub mod recording;
pub mod shader;
pub mod step;
mod table;
mod timing;
pub mod upload;
pub mod variant;

use std::convert::Infallible;

use bevy_ecs::prelude::*;

pub use adapters::{Adapter, adapters};
pub use bandwidth::copy_bandwidth;
pub use choose::{GpuRequest, choose};
pub use context::{DeviceError, GpuContext};
pub use decide::{Decision, decide};
pub use description::{Description, Kind};
pub use error::GpuError;
pub use footprint::Footprint;
pub use format::Format;
pub use model::{GpuModel, cache_cost};
pub use step::{GpuStep, HostDispatch, Recorder, StepCounts, Tap, Tapped};

use crate::cpu::Cpu;
use crate::schedule::{
    BeginStep, EndStep, LayerPass, LayerSystems, LeaveStep, PollDevice, StepSystems, choose_model, count_processed,
    keep_states, pick_tokens, take_back,
};
use crate::world::activations::Residual;
use crate::world::parts::ModelParts;
use crate::world::storage::{MapTensors, Storage};

/// Tensors on a device: where each is in its buffers.
#[derive(Clone, Copy, Debug)]
pub struct Gpu;

impl Storage for Gpu {
    type Matrix = layout::Matrix;
    type Vector = layout::Vector;
    type Rows = recording::Buffer;
    type DeltaBlock = pool::Slot;
    type KvBlock = pool::Slot;
}

/// Places are numbers.
struct Copied;

impl MapTensors<Gpu, Gpu> for Copied {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, matrix: &layout::Matrix) -> Result<layout::Matrix, Infallible> {
        Ok(*matrix)
    }

    fn vector(&mut self, _: &str, vector: &layout::Vector) -> Result<layout::Vector, Infallible> {
        Ok(*vector)
    }
}

impl ModelParts<Gpu> {
    /// The same places.
    #[must_use]
    pub fn copied(&self) -> Self {
        let Ok(copy) = self.map(&mut Copied);
        copy
    }
}

/// Adds the GPU's systems to the sets that [`install`](crate::schedule::install) made, unless they are there.
pub fn add_systems(world: &mut World) {
    if world.contains_resource::<Residual<Gpu>>() {
        return;
    }
    world.insert_resource(Residual::<Gpu>(recording::Buffer::Residual));
    world.init_resource::<GpuStep>();
    world.init_resource::<Recorder>();
    if !world.contains_resource::<Messages<Tapped>>() {
        bevy_ecs::message::MessageRegistry::register_message::<Tapped>(world);
    }
    world.schedule_scope(BeginStep, |_, schedule| {
        let take_back = take_back::<Gpu>.after(take_back::<Cpu>);
        let caches = (take_back, caches::fill_caches).chain().after(StepSystems::Draft).before(choose_model);
        schedule.add_systems((caches.in_set(StepSystems::Admit), embed::embed_tokens.in_set(StepSystems::Embed)));
    });
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems((
            (layers::mix_with_delta_net, layers::mix_with_attention).chain().in_set(LayerSystems::Mixer),
            (layers::run_mlp, layers::run_moe).chain().in_set(LayerSystems::Mlp),
        ));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems((
            head::compute_logits.in_set(StepSystems::Head),
            head::await_answer.in_set(StepSystems::Await),
            head::pick_from_host_logits.after(pick_tokens::<Cpu>).in_set(StepSystems::Sample),
            keep_states::<Gpu>.before(count_processed).in_set(StepSystems::Emit),
        ));
    });
    world.schedule_scope(LeaveStep, |_, schedule| {
        schedule.add_systems(layers::submit_recorded);
    });
    world.schedule_scope(PollDevice, |_, schedule| {
        schedule.add_systems(layers::poll_device);
    });
}
