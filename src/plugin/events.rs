//! What an app hears of the models that it loads.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::load::LoadError;

/// A model was loaded. Triggered on it, for observers.
#[derive(EntityEvent, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLoaded {
    /// Which.
    #[event_target]
    pub model: Entity,
}

/// A model could not be loaded. Triggered on the entity that was to be it, for observers.
#[derive(EntityEvent, Clone, Debug)]
pub struct ModelFailed {
    /// Which.
    #[event_target]
    pub model: Entity,
    /// Why not.
    pub error: Arc<LoadError>,
}
