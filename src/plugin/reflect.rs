//! What an inspector shows of Loquent.

use bevy_app::App;
use bevy_reflect::std_traits::ReflectDefault;

use super::FrameBudget;
use crate::sampling::Sampling;
use crate::world::control::{Forgetful, ForkOf, Paused, Priority, Rewind, Say, Stop};
use crate::world::conversation::{Conversation, SystemPrompt};
use crate::world::limits::{CacheCost, Limits};
use crate::world::model::{GenerationDefaults, ModelState, Unavailable};
use crate::world::sampler::Seed;
use crate::world::sequence::{Finished, HostLogits, Prompt, Queued, Running, SpeaksWith, StopRules, Waits};
use crate::world::tokens::Tokens;

/// Registers the types that an app may look into. What is in a message of a conversation stays closed.
pub(super) fn register_types(app: &mut App) {
    // What is said of a sequence.
    app.register_type::<Conversation>()
        .register_type::<Finished>()
        .register_type::<Queued>()
        .register_type::<Running>()
        .register_type::<Tokens>()
        .register_type::<Waits>();
    // What is asked of it.
    app.register_type::<Forgetful>()
        .register_type::<ForkOf>()
        .register_type::<HostLogits>()
        .register_type::<Paused>()
        .register_type::<Priority>()
        .register_type::<Prompt>()
        .register_type::<Rewind>()
        .register_type::<Sampling>()
        .register_type::<Say>()
        .register_type::<Seed>()
        .register_type::<SpeaksWith>()
        .register_type::<Stop>()
        .register_type::<StopRules>()
        .register_type::<SystemPrompt>();
    // Models, and what all may take.
    app.register_type::<CacheCost>()
        .register_type::<FrameBudget>()
        .register_type::<GenerationDefaults>()
        .register_type::<Limits>()
        .register_type::<ModelState>()
        .register_type::<Unavailable>();
    // What an inspector adds to a sequence begins so.
    app.register_type_data::<Forgetful, ReflectDefault>()
        .register_type_data::<HostLogits, ReflectDefault>()
        .register_type_data::<Paused, ReflectDefault>()
        .register_type_data::<Priority, ReflectDefault>()
        .register_type_data::<Sampling, ReflectDefault>()
        .register_type_data::<Say, ReflectDefault>()
        .register_type_data::<Seed, ReflectDefault>()
        .register_type_data::<StopRules, ReflectDefault>();
}
