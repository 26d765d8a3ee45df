//! Puts systems into timing wrappers, and finds out which sets they are in.

use std::any::{Any, TypeId};
use std::collections::HashSet;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{
    ApplyDeferred, InternedScheduleLabel, InternedSystemSet, ScheduleLabel, SystemKey, SystemWithAccess,
};

use super::cost::Meter;
use super::timed::{Part, Timed};
use super::{Profile, Row};
use crate::schedule::sets::{BeginStep, EndStep, LayerPass, LayerSystems, StepSystems};

/// Wraps the systems that were added since the last call.
pub(in crate::schedule) fn instrument(world: &mut World) {
    for (label, part) in
        [(BeginStep.intern(), Part::Begin), (LayerPass.intern(), Part::Layer), (EndStep.intern(), Part::End)]
    {
        if world.resource::<Schedules>().get(label).is_some_and(Schedule::is_changed) {
            world.resource_scope(|world, mut profile: Mut<Profile>| {
                world.schedule_scope(label, |world, schedule| {
                    profile.wrap(label, part, schedule);
                    // Sets are known once the schedule is built. If it cannot be, running it says why.
                    if schedule.initialize(world).is_ok() {
                        profile.name_sets(label, schedule);
                    }
                });
            });
        }
    }
}

impl Profile {
    fn wrap(&mut self, label: InternedScheduleLabel, part: Part, schedule: &mut Schedule) {
        let systems = &mut schedule.graph_mut().systems;
        let wrapped = |row: &Row| (row.schedule == label).then_some(row.key);
        let wrapped: HashSet<SystemKey> = self.rows.iter().filter_map(wrapped).collect();
        let keys: Vec<SystemKey> = systems
            .iter()
            .filter(|(key, system, _)| !wrapped.contains(key) && system.system_type() != TypeId::of::<ApplyDeferred>())
            .map(|(key, _, _)| key)
            .collect();
        for key in keys {
            let Some(slot) = systems.get_mut(key) else { continue };
            let placeholder = SystemWithAccess::new(Box::new(IntoSystem::into_system(|| ())));
            let system = std::mem::replace(slot, placeholder);
            let meter = Arc::new(Meter::default());
            let name = system.name().shortname().to_string();
            let timed = Timed::new(system, self.rows.len(), part, meter.clone(), self.switch.clone());
            *slot = SystemWithAccess::new(Box::new(timed));
            self.rows.push(Row { system: name, set: String::new(), schedule: label, key, meter });
        }
    }

    fn name_sets(&mut self, label: InternedScheduleLabel, schedule: &Schedule) {
        let sets = schedule.graph().system_sets.iter().filter_map(|(_, set, _)| ours(set));
        for set in sets {
            let Ok(keys) = schedule.graph().systems_in_set(set) else { continue };
            for row in self.rows.iter_mut().filter(|row| row.schedule == label && keys.contains(&row.key)) {
                row.set = format!("{set:?}");
            }
        }
    }
}

/// The set, if it is one of a step's or of a layer's.
fn ours(set: &dyn SystemSet) -> Option<InternedSystemSet> {
    let set: &dyn Any = set;
    let of_step = set.downcast_ref::<StepSystems>().map(SystemSet::intern);
    of_step.or_else(|| set.downcast_ref::<LayerSystems>().map(SystemSet::intern))
}
