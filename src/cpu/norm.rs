//! The `MixerNorm` and `MlpNorm` sets: `Residual` → `Normed`, by the layer's own norms.

use bevy_ecs::prelude::*;

use super::kernels::rms_norm;
use super::{Cpu, Workers};
use crate::checkpoint::ModelConfig;
use crate::world::activations::{Normed, Residual};
use crate::world::layer::{LayerNorms, OnLayer};
use crate::world::model::OnModel;

/// Normalises the residual for the mixer.
pub fn norm_for_mixer(
    workers: Res<Workers>,
    config: OnModel<&ModelConfig>,
    norms: OnLayer<&LayerNorms<Cpu>>,
    residual: Res<Residual<Cpu>>,
    normed: ResMut<Normed<Cpu>>,
) {
    norm(&workers, &config, &norms.input_layernorm, &residual, normed);
}

/// Normalises the residual for the MLP.
pub fn norm_for_mlp(
    workers: Res<Workers>,
    config: OnModel<&ModelConfig>,
    norms: OnLayer<&LayerNorms<Cpu>>,
    residual: Res<Residual<Cpu>>,
    normed: ResMut<Normed<Cpu>>,
) {
    norm(&workers, &config, &norms.post_attention_layernorm, &residual, normed);
}

fn norm(
    workers: &Workers,
    config: &ModelConfig,
    weight: &[f32],
    residual: &Residual<Cpu>,
    mut normed: ResMut<Normed<Cpu>>,
) {
    normed.0.resize(residual.0.len(), residual.0.width());
    let (x, eps) = (&residual.0, config.rms_norm_eps);
    workers.run(|isa| rms_norm(isa, x.values(), x.width(), weight, eps, normed.0.values_mut()));
}
