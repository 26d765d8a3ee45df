//! The table of contents of a step: three schedules and the sets of each, in the order they run.
//!
//! ```text
//! BeginStep   Admit (Draft) → Embed
//! LayerPass   MixerNorm → Mixer → MlpNorm → Mlp      once per layer entity
//! EndStep     Head → Await → Constrain → Sample → Emit
//! ```
//!
//! A backend is a function that adds its systems to these sets. A host adds its own before, after or between them.

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{ScheduleLabel, SingleThreadedExecutor};

/// Decides which rows the step has and embeds them.
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BeginStep;

/// Takes the rows through the layer marked [`ActiveLayer`](crate::world::layer::ActiveLayer).
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerPass;

/// Turns the last rows into logits, tokens and messages.
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndStep;

/// Runs when a step is left between two layers: a backend sends off what it has gathered, so that a device works meanwhile.
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaveStep;

/// Runs when a call with a budget of time finds a device at work: whether it is done.
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PollDevice;

/// What happens once a step, in [`BeginStep`] and [`EndStep`].
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepSystems {
    /// Takes in queued sequences and fills the [`Batch`](crate::world::batch::Batch).
    Admit,
    /// Sequences → what may follow, [`Drafted`](crate::world::draft::Drafted). In the middle of `Admit`: once it is known who
    /// runs, and before the batch is filled.
    Draft,
    /// Batch → `Residual`.
    Embed,
    /// `Residual` → `Logits`, of the rows that they are wanted of: the last of each sequence, unless it asks for more.
    Head,
    /// What a device owes of this, as far as it has answered: the sets after it run once it has, see
    /// [`Awaited`](super::Awaited). Empty where logits are computed on the spot.
    Await,
    /// `Logits` → the same with what must not be picked ruled out: empty, for masks and grammars of a host. Runs once for
    /// each group of rows, when their logits are complete, however the head was cut. What a row follows are the tokens of its
    /// sequence, and then [`Batch::drafts_before`](crate::world::batch::Batch::drafts_before) it.
    Constrain,
    /// `Logits` → one token more for each of those sequences. Runs once for each group of rows, or for parts of it.
    Sample,
    /// Tokens → messages; ends the sequences that are done.
    Emit,
}

/// What happens once a layer, in [`LayerPass`]. The contract between backends: `Residual` is right after `Mixer` and
/// after `Mlp`; one that fuses may leave the norm sets empty.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerSystems {
    /// `Residual` → `Normed`.
    MixerNorm,
    /// `Normed` → added to `Residual`, through the delta net or attention.
    Mixer,
    /// `Residual` → `Normed`.
    MlpNorm,
    /// `Normed` → added to `Residual`, through the MLP.
    Mlp,
}

/// Adds the three empty schedules with their sets in order.
///
/// The executor is set explicitly: a host whose features turn on Bevy's multi-threaded one would otherwise pay about
/// 1 ms a step for it, where this one takes 15–21 µs (24 layers of 12 empty systems, `bevy_ecs` 0.20). Parallelism lives
/// inside the kernels.
pub(super) fn add_schedules(world: &mut World) {
    let mut begin = Schedule::new(BeginStep);
    begin.configure_sets((StepSystems::Admit, StepSystems::Embed).chain());
    let mut layer = Schedule::new(LayerPass);
    layer.configure_sets(
        (LayerSystems::MixerNorm, LayerSystems::Mixer, LayerSystems::MlpNorm, LayerSystems::Mlp).chain(),
    );
    let mut end = Schedule::new(EndStep);
    end.configure_sets(
        (StepSystems::Head, StepSystems::Await, StepSystems::Constrain, StepSystems::Sample, StepSystems::Emit).chain(),
    );
    for mut schedule in [begin, layer, end, Schedule::new(LeaveStep), Schedule::new(PollDevice)] {
        schedule.set_executor(SingleThreadedExecutor::new());
        world.add_schedule(schedule);
    }
}
