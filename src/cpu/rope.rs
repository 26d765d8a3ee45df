//! Part of the `Embed` set: the batch's positions → [`RopeAngles`], which all attention layers of the step share.

use bevy_ecs::prelude::*;

use super::{Cpu, kernels};
use crate::checkpoint::ModelConfig;
use crate::world::batch::Batch;
use crate::world::model::Model;

/// The frequencies of a model's rotary dimensions, on the model entity.
#[derive(Component)]
pub struct RopeTable(kernels::RopeTable);

/// The angles of the rows of this step, by the frequencies of the step's model.
#[derive(Resource, Default)]
pub struct RopeAngles(pub(super) kernels::RopeAngles);

/// Makes the tables of the models that have none.
pub(super) fn make_tables(world: &mut World) {
    let mut models = world.query_filtered::<(Entity, &ModelConfig), (With<Model<Cpu>>, Without<RopeTable>)>();
    let table =
        |config: &ModelConfig| kernels::RopeTable::new(config.attention.rope_theta, config.attention.rotary_dim);
    let tables: Vec<_> = models.iter(world).map(|(model, config)| (model, RopeTable(table(config)))).collect();
    world.insert_batch(tables);
}

/// Turns positions into angles.
pub fn make_angles(table: Single<&RopeTable>, batch: Res<Batch>, mut angles: ResMut<RopeAngles>) {
    angles.0 = table.0.angles(&batch.positions);
}
