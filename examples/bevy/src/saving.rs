//! A character is saved in the middle of its answer, leaves, and is restored to go on.

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_log::info;
use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot};

use crate::village::Says;

/// On a character that was restored.
#[derive(Component)]
pub struct Restored;

pub fn plugin(app: &mut App) {
    app.add_systems(PostUpdate, save_and_restore);
}

/// Who is saved: Cat, once she has said something.
type Saved = (With<Running>, Without<Restored>);

fn save_and_restore(world: &mut World, characters: &mut QueryState<(Entity, &Name, &Says), Saved>) -> Result {
    let is_due = |name: &Name, says: &Says| name.as_str() == "Cat" && says.0.len() > 20;
    let found = characters.iter(world).find(|(_, name, says)| is_due(name, says)).map(|(character, ..)| character);
    let Some(character) = found else { return Ok(()) };
    let model = world.query_filtered::<Entity, With<ModelConfig>>().single(world)?;
    let bytes = Snapshot::take(world, character, Contents::AsStored)?.to_bytes();
    // What is a game's own, it keeps itself.
    let says = world.entity_mut(character).take::<Says>().unwrap_or_default();
    world.despawn(character);

    let restored = Snapshot::from_bytes(&bytes)?.restore(world, model)?;
    info!("Cat, in {} bytes, goes on: {:?}", bytes.len(), restored.continues);
    world.entity_mut(restored.sequence).insert((says, Restored));
    Ok(())
}
