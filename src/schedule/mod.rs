//! What happens: the three schedules of a step, what drives them, and what they cost.

mod admit;
mod advance;
mod awaited;
mod budget;
mod choose;
mod drafters;
mod emit;
mod fill;
mod finish;
mod full;
mod guesses;
mod lookup;
mod pace;
pub mod profile;
mod prompt;
mod requests;
mod sample;
mod sets;
mod take_back;

use bevy_ecs::message::MessageRegistry;
use bevy_ecs::prelude::*;

pub use admit::{admit_queued, settle};
pub use advance::{Progress, advance, leave_step};
pub use awaited::Awaited;
pub use budget::Budget;
pub use drafters::lead_drafters;
pub use emit::{count_processed, emit_picks};
pub use fill::{Turn, choose_model, fill_batch};
pub use finish::read_again;
#[cfg(feature = "gpu")]
pub(crate) use finish::read_again_later;
pub use full::{Full, make_room};
pub use lookup::look_up_drafts;
pub use pace::Pace;
pub use requests::take_requests;
pub use sample::{Pick, Picks, pick_tokens};
pub use sets::{BeginStep, EndStep, LayerPass, LayerSystems, LeaveStep, PollDevice, StepSystems};
pub use take_back::{TakenBack, keep_states, take_back, take_back_drafts};

use crate::world::batch::Batch;
use crate::world::control::TurnsForgotten;
use crate::world::cursor::Cursor;
use crate::world::heard::{Spoken, TokenGenerated};
use crate::world::limits::Limits;

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
    world.init_resource::<pace::Pace>();
    world.init_resource::<profile::Profile>();
    register::<TokenGenerated>(world);
    register::<Spoken>(world);
    register::<TurnsForgotten>(world);
    world.schedule_scope(BeginStep, |_, schedule| {
        // They touch what nothing else does within a step, whatever else of the world they could.
        let requests = (make_room.ambiguous_with_all(), take_requests.ambiguous_with_all()).chain();
        schedule.configure_sets(StepSystems::Draft.after(admit_queued).before(choose_model));
        let systems = (requests, settle, admit_queued, choose_model, fill_batch).chain();
        let drafts = (drafters::lead_drafters, look_up_drafts).chain();
        schedule.add_systems((systems.in_set(StepSystems::Admit), drafts.in_set(StepSystems::Draft)));
    });
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.configure_sets((
            StepSystems::Head.run_if(Cursor::computes_logits).run_if(Awaited::is_unasked),
            StepSystems::Constrain.run_if(Cursor::completes_logits).run_if(Awaited::is_answered),
            StepSystems::Sample.run_if(Cursor::picks).run_if(Awaited::is_answered),
            StepSystems::Emit.run_if(Cursor::completes_step).run_if(Awaited::is_answered),
        ));
        schedule.add_systems((count_processed, emit_picks).chain().in_set(StepSystems::Emit));
    });
}

/// Registers messages of type `M`, unless they are: twice, they would be dropped after one update instead of two, before
/// readers have seen them.
fn register<M: Message>(world: &mut World) {
    if !world.contains_resource::<Messages<M>>() {
        MessageRegistry::register_message::<M>(world);
    }
}
