//! The head that predicts several tokens, from a checkpoint to entities.

use bevy_ecs::prelude::*;

use crate::checkpoint::{Checkpoint, CheckpointError, ModelConfig};
use crate::cpu::rope::RopeTable;
use crate::cpu::{self, Cpu};
use crate::schedule::Turn;
use crate::world::layer::LayerIndex;
use crate::world::model::GenerationDefaults;
use crate::world::mtp::{HeadOf, Mtp};
use crate::world::promised::promised_tensors;

impl Checkpoint {
    /// Refuses a head of which a tensor is missing or has another shape, and none at all where one is `wanted`. Where it is
    /// not, its tensors are not read, and have their place in the model all the same.
    pub(crate) fn check_mtp(&mut self, wanted: bool) -> Result<(), CheckpointError> {
        if wanted && !self.config.mtp {
            return Err(self.no_mtp());
        }
        let promised = promised_tensors(&self.config);
        promised
            .iter()
            .filter(|tensor| tensor.is_of_mtp())
            .try_for_each(|tensor| self.pass_over(&tensor.name, &tensor.shape))
    }
}

/// Makes a draft model of the head: a child of the model that it drafts for, with one layer.
pub(super) fn insert(world: &mut World, model: Entity, mtp: Mtp<Cpu>) {
    let Mtp { head, layer } = mtp;
    let Some(trunk) = world.get::<ModelConfig>(model) else { return };
    let config = trunk.of_head();
    let computes = (cpu::cache_cost(&config), RopeTable::of(&config), GenerationDefaults::default(), Turn::default());
    let draft_model = world.spawn((head, HeadOf(model), ChildOf(model), config, computes)).id();
    layer.insert(&mut world.spawn((LayerIndex(0), ChildOf(draft_model))));
}
