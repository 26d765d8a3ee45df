//! What happens: the three schedules of a step, what drives them, and what they cost.

mod admit;
mod advance;
mod awaited;
mod budget;
mod emit;
mod fill;
mod finish;
pub mod profile;
mod prompt;
mod sample;
mod sets;

use bevy_ecs::message::MessageRegistry;
use bevy_ecs::prelude::*;

pub use admit::{admit_queued, settle};
pub use advance::{Progress, advance, leave_step};
pub use awaited::Awaited;
pub use budget::Budget;
pub use emit::{count_processed, emit_picks};
pub use fill::{Turn, choose_model, fill_batch};
pub use finish::read_again;
pub use sample::{Picks, pick_tokens};
pub use sets::{BeginStep, EndStep, LayerPass, LayerSystems, LeaveStep, PollDevice, StepSystems};

use crate::world::batch::Batch;
use crate::world::cursor::Cursor;
use crate::world::limits::Limits;
use crate::world::sequence::TokenGenerated;

/// Adds to `world` the three schedules, the systems that need no backend, and the resources they share, unless they are
/// there. Loading a model does this too: a host calls it to add systems of its own to the schedules before.
pub fn install(world: &mut World) {
    if world.contains_resource::<Picks>() {
        return;
    }
    sets::add_schedules(world);
    world.init_resource::<Awaited>();
    world.init_resource::<Batch>();
    world.init_resource::<Limits>();
    world.init_resource::<Cursor>();
    world.init_resource::<Picks>();
    world.init_resource::<profile::Profile>();
    if !world.contains_resource::<Messages<TokenGenerated>>() {
        // Registered twice, messages would be dropped after one update instead of two, before readers have seen them.
        MessageRegistry::register_message::<TokenGenerated>(world);
    }
    world.schedule_scope(BeginStep, |_, schedule| {
        let systems = (settle, admit_queued, choose_model, fill_batch).chain();
        schedule.add_systems(systems.in_set(StepSystems::Admit));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.configure_sets((
            StepSystems::Head.run_if(Awaited::is_unasked),
            StepSystems::Constrain.run_if(Cursor::completes_logits).run_if(Awaited::is_answered),
            StepSystems::Sample.run_if(Cursor::completes_logits).run_if(Awaited::is_answered),
            StepSystems::Emit.run_if(Cursor::completes_step).run_if(Awaited::is_answered),
        ));
        schedule.add_systems((count_processed, emit_picks).chain().in_set(StepSystems::Emit));
    });
}
