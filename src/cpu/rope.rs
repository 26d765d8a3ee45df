//! Part of the `Embed` set: the batch's positions → [`RopeAngles`], which all attention layers of the step share.

use bevy_ecs::prelude::*;

use super::kernels;
use crate::checkpoint::{ModelConfig, RopeFrequencies};
use crate::world::batch::Batch;
use crate::world::model::OnModel;

/// The frequencies of a model's rotary dimensions, on the model entity.
#[derive(Component)]
pub struct RopeTable(kernels::RopeTable);

/// The angles of the rows of this step, by the frequencies of the step's model.
#[derive(Resource, Default)]
pub struct RopeAngles(pub(super) kernels::RopeAngles);

impl RopeTable {
    /// That of a model of `config`.
    #[must_use]
    pub fn of(config: &ModelConfig) -> Self {
        Self(kernel_table(config))
    }
}

/// The frequencies as kernels and shaders take them.
pub(crate) fn kernel_table(config: &ModelConfig) -> kernels::RopeTable {
    let RopeFrequencies { inverse, attention_factor } = config.attention.rope.frequencies();
    kernels::RopeTable::new(inverse, attention_factor)
}

/// Turns positions into angles.
pub fn make_angles(table: OnModel<&RopeTable>, batch: Res<Batch>, mut angles: ResMut<RopeAngles>) {
    angles.0 = table.0.angles(&batch.positions);
}
