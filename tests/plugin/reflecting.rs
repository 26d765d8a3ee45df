//! What an inspector sees, which knows no type of ours.

use bevy_ecs::prelude::*;
use bevy_ecs::reflect::{AppTypeRegistry, ReflectComponent, ReflectResource};
use loquent::prelude::*;

use crate::{app_with_demo, has_ended, story, update_until};

/// What a component says of itself, found by its name.
fn shown(world: &World, entity: Entity, name: &str) -> Option<String> {
    let registry = world.resource::<AppTypeRegistry>().read();
    let component = registry.get_with_short_type_path(name)?.data::<ReflectComponent>()?;
    component.reflect(world.entity(entity)).map(|value| format!("{:?}", value.as_partial_reflect()))
}

#[test]
fn components_are_found_by_name_and_show_what_they_hold() {
    let (mut app, model) = app_with_demo();
    let sequence = app.world_mut().spawn((SpeaksWith(model), story(4), Sampling::default(), Seed(7))).id();
    update_until(&mut app, |world| has_ended(world, sequence));
    let world = app.world();
    let shown = |entity, name| shown(world, entity, name);
    assert_eq!(shown(model, "ModelState").as_deref(), Some("Ready"));
    assert_eq!(shown(sequence, "Seed").as_deref(), Some("Seed(7)"));
    assert_eq!(shown(sequence, "Finished").as_deref(), Some("Finished(Length)"));
    assert!(shown(sequence, "Prompt").is_some_and(|prompt| prompt.contains("Once upon a time")));
    assert!(shown(sequence, "Tokens").is_some_and(|tokens| tokens.contains("generated")));
    assert!(shown(sequence, "Sampling").is_some());
    let registry = world.resource::<AppTypeRegistry>().read();
    for name in ["FrameBudget", "Limits"] {
        let found = registry.get_with_short_type_path(name).expect(name);
        assert!(found.data::<ReflectResource>().is_some(), "{name}");
    }
}
