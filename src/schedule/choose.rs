//! Which model a sequence speaks with.

use bevy_ecs::prelude::*;

use crate::world::model::ModelState;
use crate::world::refusal::Refusal;
use crate::world::sequence::SpeaksWith;

/// The model that a sequence names, or the only one; nothing, where it is still to come.
///
/// One that is still loading counts as one of several: what becomes of a sequence does not depend on how fast that goes.
pub(super) fn choose<'a>(
    models: impl Iterator<Item = (Entity, &'a ModelState)>,
    named: Option<SpeaksWith>,
) -> Result<Option<Entity>, Refusal> {
    let mut models = models.filter(|&(model, _)| named.is_none_or(|named| named.0 == model));
    if let Some(SpeaksWith(model)) = named {
        let (_, state) = models.next().ok_or(Refusal::NoSuchModel(model))?;
        return ready(model, state);
    }
    let (failed, others): (Vec<_>, Vec<_>) = models.partition(|(_, state)| matches!(state, ModelState::Failed(_)));
    match (others.as_slice(), failed.as_slice()) {
        (&[(model, state)], _) | (&[], &[(model, state), ..]) => ready(model, state),
        (&[], &[]) => Ok(None),
        (several, _) => Err(Refusal::ModelNotNamed { models: several.len() }),
    }
}

fn ready(model: Entity, state: &ModelState) -> Result<Option<Entity>, Refusal> {
    match state {
        ModelState::Loading(_) => Ok(None),
        ModelState::Ready => Ok(Some(model)),
        ModelState::Failed(reason) => Err(Refusal::ModelFailed { model, reason: reason.clone() }),
    }
}
