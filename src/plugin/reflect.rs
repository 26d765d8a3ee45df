//! What an inspector shows of Loquent.

use bevy_app::App;

use super::FrameBudget;

/// Registers the types that an app may look into.
pub(super) fn register_types(app: &mut App) {
    app.register_type::<FrameBudget>();
}
