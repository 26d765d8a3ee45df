//! The `Mixer` and `Mlp` sets: each layer's systems enqueue what a device is to do for it. Norms are within.

use bevy_ecs::prelude::*;

use super::Gpu;
use super::model::GpuModel;
use super::recording::Place;
use super::step::{GpuStep, Recorder};
use crate::schedule::Awaited;
use crate::schedule::profile::Profile;
use crate::world::activations::Residual;
use crate::world::attention::Attention;
use crate::world::delta_net::DeltaNet;
use crate::world::layer::{LayerIndex, OnLayer};
use crate::world::mlp::Mlp;
use crate::world::moe::Moe;

/// Mixes tokens through each sequence's state: [`Shader::DeltaNet`](super::shader::Shader::DeltaNet) between two products.
pub fn mix_with_delta_net(
    layer: OnLayer<(&LayerIndex, &DeltaNet<Gpu>)>,
    step: Res<GpuStep>,
    recorder: ResMut<Recorder>,
    residual: ResMut<Residual<Gpu>>,
) {
    enqueue(Place::Mixer(layer.0.0), &step, recorder, residual);
}

/// Mixes tokens by attending over each sequence's cache: [`Shader::Attend`](super::shader::Shader::Attend) between two
/// products.
pub fn mix_with_attention(
    layer: OnLayer<(&LayerIndex, &Attention<Gpu>)>,
    step: Res<GpuStep>,
    recorder: ResMut<Recorder>,
    residual: ResMut<Residual<Gpu>>,
) {
    enqueue(Place::Mixer(layer.0.0), &step, recorder, residual);
}

/// Runs the layer's MLP.
pub fn run_mlp(
    layer: OnLayer<(&LayerIndex, &Mlp<Gpu>)>,
    step: Res<GpuStep>,
    recorder: ResMut<Recorder>,
    residual: ResMut<Residual<Gpu>>,
) {
    enqueue(Place::Mlp(layer.0.0), &step, recorder, residual);
}

/// Runs the layer's experts: [`Shader::PickExperts`](super::shader::Shader::PickExperts) before products with the matrices
/// of those that rows go through, [`Shader::AddExperts`](super::shader::Shader::AddExperts) after them.
pub fn run_moe(
    layer: OnLayer<(&LayerIndex, &Moe<Gpu>)>,
    step: Res<GpuStep>,
    recorder: ResMut<Recorder>,
    residual: ResMut<Residual<Gpu>>,
) {
    enqueue(Place::Mlp(layer.0.0), &step, recorder, residual);
}

fn enqueue(place: Place, step: &GpuStep, mut recorder: ResMut<Recorder>, mut residual: ResMut<Residual<Gpu>>) {
    if let Some(body) = &step.body {
        recorder.enqueue(body, place);
        residual.set_changed();
    }
}

/// Sends what was enqueued so far, where a step is left in the middle.
pub fn submit_recorded(
    mut model: crate::world::model::OnModel<&mut GpuModel>,
    mut step: ResMut<GpuStep>,
    mut recorder: ResMut<Recorder>,
    mut awaited: ResMut<Awaited>,
) {
    if recorder.sent || model.failure.is_some() {
        return;
    }
    if let Err(error) = step.submit(&mut model, &mut recorder, None) {
        model.failure = Some(error);
    }
    awaited.busy = true;
}

/// Looks whether the device is done with what it was told.
pub fn poll_device(
    models: Query<&GpuModel>,
    mut step: ResMut<GpuStep>,
    mut awaited: ResMut<Awaited>,
    profile: Res<Profile>,
) {
    let polled = models.iter().try_for_each(|model| {
        model.context().poll(wgpu::PollType::Poll, "a step")?;
        step.take_times(model, &profile, &mut awaited)
    });
    // What is wrong with a device shows when its answer is awaited.
    awaited.busy = polled.is_ok() && step.is_busy();
}
