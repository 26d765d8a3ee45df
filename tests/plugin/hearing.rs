//! Words reach readers once, wherever in the frame they are and whichever plugin came first.

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use loquent::prelude::*;

use crate::{ask_for, demo, has_ended, story, text, update_until};

/// What each reader has heard.
#[derive(Resource, Default)]
struct Heard {
    before: String,
    after: String,
    late: String,
    tokens: Vec<u32>,
}

/// A plugin of a game, with readers wherever they may be.
struct Listeners;

impl Plugin for Listeners {
    fn build(&self, app: &mut App) {
        app.init_resource::<Heard>().add_message::<Spoken>().add_message::<TokenGenerated>();
        app.add_systems(
            Update,
            (
                (|mut words: MessageReader<Spoken>, mut heard: ResMut<Heard>| {
                    heard.before.extend(words.read().map(|word| word.text.as_str()));
                })
                .before(LoquentSystems::Advance),
                (|mut words: MessageReader<Spoken>, mut heard: ResMut<Heard>| {
                    heard.after.extend(words.read().map(|word| word.text.as_str()));
                })
                .after(LoquentSystems::Advance),
            ),
        );
        app.add_systems(
            PostUpdate,
            |mut words: MessageReader<Spoken>, mut tokens: MessageReader<TokenGenerated>, mut heard: ResMut<Heard>| {
                heard.late.extend(words.read().map(|word| word.text.as_str()));
                heard.tokens.extend(tokens.read().map(|token| token.id));
            },
        );
    }
}

#[test]
fn every_word_is_heard_once_by_every_reader() {
    for loquent_first in [true, false] {
        let mut app = App::new();
        if loquent_first {
            app.add_plugins((LoquentPlugin::default(), Listeners));
        } else {
            app.add_plugins((Listeners, LoquentPlugin::default()));
        }
        app.add_message::<Spoken>();
        ask_for(&mut app, demo());
        let sequence = app.world_mut().spawn(story(60)).id();
        update_until(&mut app, |world| has_ended(world, sequence));
        let world = app.world();
        let (heard, said) = (world.resource::<Heard>(), text(world, sequence));
        assert!(!said.is_empty());
        assert_eq!(heard.after, said);
        assert_eq!(heard.late, said);
        assert!(said.starts_with(&heard.before) && heard.before.len() < said.len(), "one frame behind");
        assert_eq!(heard.tokens, world.get::<Tokens>(sequence).expect("tokens").generated);
        app.update();
        let heard = app.world().resource::<Heard>();
        assert_eq!((&heard.before, &heard.after, &heard.late), (&said, &said, &said));
        app.update();
        app.update();
        assert!(app.world().resource::<Messages<Spoken>>().is_empty(), "what was heard is dropped");
    }
}

#[test]
#[should_panic(expected = "LoquentPlugin")]
fn a_second_plugin_is_an_error_of_bevys() {
    App::new().add_plugins(LoquentPlugin::default()).add_plugins(LoquentPlugin::default());
}
