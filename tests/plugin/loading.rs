//! From a path to a model, or to a reason why there is none.

use std::sync::{Arc, Mutex};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::world::refusal::Refusal;

use crate::{app, app_with_demo, ask_for, demo, has_ended, on_cpu, state, story, text, update_until};

/// A model, and why it has failed if it has.
type Event = (Entity, Option<String>);

/// What was triggered, in order.
#[derive(Resource, Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    fn listen(app: &mut App) -> Self {
        let heard = Self::default();
        app.insert_resource(heard.clone());
        app.add_observer(|loaded: On<ModelLoaded>, heard: Res<Heard>| {
            heard.0.lock().unwrap().push((loaded.model, None));
        });
        app.add_observer(|failed: On<ModelFailed>, heard: Res<Heard>| {
            heard.0.lock().unwrap().push((failed.model, Some(failed.error.to_string())));
        });
        heard
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[derive(Resource)]
struct Cast {
    model: Entity,
    village: Entity,
    ann: Entity,
}

fn settle(mut models: Models, mut commands: Commands) {
    let model = models.load_with(demo(), on_cpu());
    let village = commands.spawn((SpeaksWith(model), SystemPrompt("You live by the sea.".into()))).id();
    let sampling = Sampling { temperature: 0.7, ..Default::default() };
    let ann = commands.spawn((ForkOf(village), sampling, StopRules::after(12))).id();
    commands.entity(ann).say("Where is the key?");
    commands.insert_resource(Cast { model, village, ann });
}

#[test]
fn sequences_that_come_before_their_model_wait_for_it_and_speak() {
    let mut app = app();
    let heard = Heard::listen(&mut app);
    app.add_systems(Startup, settle);
    app.update();
    let Cast { model, village, ann } = *app.world().resource();
    let mut shares = Vec::new();
    update_until(&mut app, |world| {
        let state = state(world, model);
        if let ModelState::Loading(share) = state {
            shares.push(share);
            assert!(!has_ended(world, village) && !has_ended(world, ann));
            if world.get::<Waits>(village).is_some() {
                assert_eq!(world.get(village), Some(&Waits::ForModel));
            }
        }
        state == ModelState::Ready
    });
    assert!(shares.is_sorted() && shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    assert_eq!(heard.take(), [(model, None)]);
    update_until(&mut app, |world| has_ended(world, ann));
    let world = app.world();
    assert_eq!(world.get(village), Some(&Finished(FinishReason::Read)));
    assert!(matches!(world.get(ann), Some(Finished(FinishReason::Length | FinishReason::Stop))));
    let conversation = world.get::<Conversation>(ann).expect("a conversation");
    assert_eq!(conversation.messages().len(), 3);
    assert_eq!(conversation.messages()[2].content(), Some(text(world, ann).as_str()));
}

#[test]
fn a_model_that_cannot_be_loaded_ends_its_sequences_with_the_reason() {
    let mut app = app();
    let heard = Heard::listen(&mut app);
    let model = ask_for(&mut app, "no/such/model");
    let world = app.world_mut();
    let village = world.spawn((SpeaksWith(model), SystemPrompt("You live by the sea.".into()))).id();
    let ann = world.spawn(ForkOf(village)).id();
    let told = world.spawn((SpeaksWith(model), Conversation::default())).id();
    world.entity_mut(told).say("Where is the key?");
    let nameless = world.spawn(story(4)).id();
    let all = [village, ann, told, nameless];
    update_until(&mut app, |world| all.iter().all(|&sequence| has_ended(world, sequence)));
    let ModelState::Failed(reason) = state(app.world(), model) else { panic!("it has failed") };
    assert!(reason.contains("no/such/model"), "{reason}");
    for sequence in all {
        let Some(Finished(FinishReason::Refused(refusal))) = app.world().get(sequence) else {
            panic!("{sequence} was refused")
        };
        assert_eq!(*refusal, Refusal::ModelFailed { model, reason: reason.clone() });
        assert!(refusal.to_string().contains("no/such/model"), "{refusal}");
    }
    let events = heard.take();
    let [(entity, Some(error))] = events.as_slice() else { panic!("one failure: {events:?}") };
    assert!(*entity == model && reason.starts_with(error), "{events:?}");
    assert!(heard.take().is_empty());

    // Another may come in its place.
    let other = ask_for(&mut app, demo());
    let nameless = app.world_mut().spawn(story(4)).id();
    update_until(&mut app, |world| has_ended(world, nameless));
    assert_eq!(app.world().get(nameless), Some(&Finished(FinishReason::Length)));
    assert_eq!(heard.take(), [(other, None)]);
}

#[test]
fn a_sequence_speaks_with_one_model_while_another_loads_or_has_failed() {
    let (mut app, first) = app_with_demo();
    let second = ask_for(&mut app, demo());
    let world = app.world_mut();
    let nameless = world.spawn(story(4)).id();
    let [one, two] = [first, second].map(|model| world.spawn((SpeaksWith(model), story(8))).id());
    update_until(&mut app, |world| [nameless, one, two].iter().all(|&sequence| has_ended(world, sequence)));
    let refusal = Refusal::ModelNotNamed { models: 2 };
    assert_eq!(app.world().get(nameless), Some(&Finished(FinishReason::Refused(refusal))), "whichever came first");
    assert_eq!(text(app.world(), one), text(app.world(), two));

    app.world_mut().despawn(second);
    let failed = ask_for(&mut app, "no/such/model");
    update_until(&mut app, |world| matches!(state(world, failed), ModelState::Failed(_)));
    let nameless = app.world_mut().spawn(story(8)).id();
    update_until(&mut app, |world| has_ended(world, nameless));
    assert_eq!(text(app.world(), nameless), text(app.world(), one), "one that failed is no choice");
}

#[test]
fn a_model_that_is_despawned_while_it_loads_is_given_up() {
    let mut app = app();
    let heard = Heard::listen(&mut app);
    let model = ask_for(&mut app, demo());
    let sequence = app.world_mut().spawn((SpeaksWith(model), story(4))).id();
    app.world_mut().despawn(model);
    update_until(&mut app, |world| has_ended(world, sequence));
    let refusal = Refusal::NoSuchModel(model);
    assert_eq!(app.world().get(sequence), Some(&Finished(FinishReason::Refused(refusal))));
    for _ in 0..100 {
        app.update();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(heard.take().is_empty());
    assert_eq!(app.world_mut().query::<&ModelConfig>().iter(app.world()).count(), 0);
}
