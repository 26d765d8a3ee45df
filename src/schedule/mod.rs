//! What happens: the three schedules of a step, what drives them, and what they cost.

mod admit;
mod advance;
mod emit;
pub mod load;
pub mod profile;
mod sample;
mod sets;

use bevy_ecs::message::MessageRegistry;
use bevy_ecs::prelude::*;

pub use admit::{admit_queued, fill_batch};
pub use advance::{Budget, Cursor, LoadedModel, Progress, advance};
pub use emit::{count_processed, emit_picks};
pub use sample::{Picks, pick_tokens};
pub use sets::{BeginStep, EndStep, LayerPass, LayerSystems, StepSystems};

use crate::world::batch::{Batch, MaxRows};
use crate::world::sequence::TokenGenerated;

/// Adds to `world` the three schedules, the systems that need no backend, and the resources they share. A backend's
/// `add_systems` and a model are still to come.
pub fn install(world: &mut World) {
    sets::add_schedules(world);
    world.init_resource::<Batch>();
    world.init_resource::<MaxRows>();
    world.init_resource::<Cursor>();
    world.init_resource::<Picks>();
    world.init_resource::<profile::Profile>();
    MessageRegistry::register_message::<TokenGenerated>(world);
    world.schedule_scope(BeginStep, |_, schedule| {
        schedule.add_systems((admit_queued, fill_batch).chain().in_set(StepSystems::Admit));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.configure_sets((
            StepSystems::Sample.run_if(Cursor::logits_are_complete),
            StepSystems::Emit.run_if(Cursor::head_is_complete),
        ));
        schedule.add_systems((count_processed, emit_picks).chain().in_set(StepSystems::Emit));
    });
}
