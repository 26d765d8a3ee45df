//! The head that predicts several tokens, from a checkpoint to entities.

use bevy_ecs::prelude::*;

use crate::checkpoint::{Checkpoint, CheckpointError, ModelConfig};
use crate::cpu::rope::RopeTable;
use crate::cpu::{self, CacheType, Cpu};
use crate::schedule::Turn;
use crate::world::layer::LayerIndex;
use crate::world::model::{GenerationDefaults, HeadRows};
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

/// It predicts these tokens of a vocabulary alone. Those of byte-pair encodings come in the order of their merges, the commonest
/// first, and the logits of all 248 320 of Qwen3.5 would cost a quarter of a step of the 0.8B.
const PREDICTED: usize = 65_536;

/// Makes a draft model of the head: a child of the model that it drafts for, with one layer.
pub(super) fn insert(world: &mut World, model: Entity, mtp: Mtp<Cpu>) {
    let Mtp { head, layer } = mtp;
    let of_trunk = world.get::<ModelConfig>(model).zip(world.get::<CacheType>(model));
    let Some((config, cache_type)) = of_trunk.map(|(config, &cache_type)| (config.of_head(), cache_type)) else {
        return;
    };
    let rows = HeadRows(config.vocab_size.min(PREDICTED));
    let computes = (
        cpu::cache_cost(&config, cache_type),
        cache_type,
        RopeTable::of(&config),
        GenerationDefaults::default(),
        Turn::default(),
    );
    let draft_model = world.spawn((head, HeadOf(model), ChildOf(model), rows, config, computes)).id();
    layer.insert(&mut world.spawn((LayerIndex(0), ChildOf(draft_model))));
}
