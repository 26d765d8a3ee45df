//! Whatever a host does, and whenever: what each sequence says is what it would say alone.

use bevy_ecs::entity::EntityCloner;
use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot};
use loquent::world::refusal::Refusal;
use proptest::prelude::*;

use crate::support::{default_world, fixtures, run};

/// One thing that a host does, to the speaker at a place among those that are there.
#[derive(Clone, Copy, Debug)]
enum Act {
    Advance(usize),
    Step,
    Say(usize, usize),
    Fork(usize),
    Clone(usize, bool),
    Pause(usize),
    Resume(usize),
    Stop(usize),
    Rewind(usize, usize),
    Prompt(usize, usize),
    Save(usize),
    Join(usize),
    Despawn(usize),
    Rows(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let place = || 0..1000usize;
    prop_oneof![
        6 => (1..9usize).prop_map(Act::Advance),
        4 => Just(Act::Step),
        4 => (place(), 0..SAID.len()).prop_map(|(place, said)| Act::Say(place, said)),
        2 => place().prop_map(Act::Fork),
        1 => (place(), any::<bool>()).prop_map(|(place, linked)| Act::Clone(place, linked)),
        2 => place().prop_map(Act::Pause),
        2 => place().prop_map(Act::Resume),
        1 => place().prop_map(Act::Stop),
        1 => (place(), 0..3usize).prop_map(|(place, turn)| Act::Rewind(place, turn)),
        1 => (place(), 0..SAID.len()).prop_map(|(place, said)| Act::Prompt(place, said)),
        1 => place().prop_map(Act::Save),
        1 => (0..SAID.len()).prop_map(Act::Join),
        1 => place().prop_map(Act::Despawn),
        1 => (1..20usize).prop_map(Act::Rows),
    ]
}

const SAID: [&str; 6] = ["a", "Where is the key?", "b c", "And then? And then? And then? And then?", "dd", "Why"];

fn rules() -> StopRules {
    StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(7) }
}

fn speaker(world: &mut World, said: usize) -> Entity {
    let speaker = world.spawn((Conversation::default(), Sampler::default(), rules())).id();
    world.entity_mut(speaker).say(SAID[said]);
    speaker
}

fn perform(world: &mut World, speakers: &mut Vec<Entity>, act: Act) {
    let at = |place: usize| speakers[place % speakers.len()];
    match act {
        Act::Advance(pieces) => _ = advance(world, Budget::Pieces(pieces)),
        Act::Step => _ = advance(world, Budget::Step),
        Act::Say(place, said) => _ = world.entity_mut(at(place)).say(SAID[said]),
        Act::Fork(place) => {
            let fork = world.entity_mut(at(place)).fork();
            // One that is stopped while it waits for its original has nothing of it.
            world.entity_mut(fork).insert((Sampler::default(), rules()));
            speakers.push(fork);
        }
        Act::Clone(place, linked) => {
            // As the documentation says: a clone is whole between two steps.
            while *world.resource::<loquent::world::cursor::Cursor>() != loquent::world::cursor::Cursor::Begin {
                advance(world, Budget::Step);
            }
            let (original, clone) = (at(place), world.spawn_empty().id());
            EntityCloner::build_opt_out(world).linked_cloning(linked).clone_entity(original, clone);
            speakers.push(clone);
        }
        Act::Pause(place) => _ = world.entity_mut(at(place)).pause(),
        Act::Resume(place) => _ = world.entity_mut(at(place)).resume(),
        Act::Stop(place) => _ = world.entity_mut(at(place)).stop(),
        Act::Rewind(place, turn) => _ = world.entity_mut(at(place)).rewind(turn),
        Act::Prompt(place, said) => {
            let prompt = Prompt::chat([ChatMessage::new("user", SAID[said])]);
            world.entity_mut(at(place)).insert(prompt);
        }
        Act::Save(place) => {
            let (place, original) = (place % speakers.len(), at(place));
            let model = world.query_filtered::<Entity, With<ModelConfig>>().single(world).expect("a model");
            let Ok(saved) = Snapshot::take(world, original, Contents::AsStored) else { return };
            world.despawn(original);
            let restored =
                Snapshot::from_bytes(&saved.to_bytes()).expect("whole").restore(world, model).expect("its model");
            speakers[place] = restored.sequence;
        }
        Act::Join(said) => {
            let newcomer = speaker(world, said);
            speakers.push(newcomer);
        }
        Act::Despawn(place) => {
            let gone = speakers.swap_remove(place % speakers.len());
            world.despawn(gone);
        }
        Act::Rows(rows) => world.resource_mut::<Limits>().rows = rows,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_host_does_each_sequence_says_what_it_would_say_alone(acts in prop::collection::vec(act(), 50..300)) {
        let checkpoint = fixtures().into_iter().find(|path| path.ends_with("tokenizer-bf16")).expect("a fixture");
        let mut world = default_world(&checkpoint);
        let mut speakers: Vec<Entity> = (0..64).map(|index| speaker(&mut world, index % SAID.len())).collect();
        for act in acts {
            perform(&mut world, &mut speakers, act);
            if speakers.is_empty() {
                break;
            }
        }
        for &speaker in &speakers {
            world.entity_mut(speaker).resume();
        }
        run(&mut world, Budget::Step);
        let mut alone = default_world(&checkpoint);
        for speaker in speakers {
            let Some(Finished(reason)) = world.get(speaker) else { panic!("{speaker} has not ended") };
            let tokens = world.get::<Tokens>(speaker).expect("tokens");
            // Its original was despawned before the next step began.
            let lost = matches!(reason, FinishReason::Refused(Refusal::NoSuchSequence(_)));
            prop_assert!(lost || matches!(reason, FinishReason::Length | FinishReason::Cancelled), "{:?}", reason);
            if tokens.generated.is_empty() {
                continue;
            }
            let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(tokens.generated.len()) };
            let expected = alone.spawn((Prompt::ids(&*tokens.prompt), Sampler::default(), rules)).id();
            run(&mut alone, Budget::Step);
            let expected = alone.get::<Tokens>(expected).expect("tokens");
            prop_assert_eq!(&tokens.generated, &expected.generated, "after {:?}", tokens.prompt);
        }
    }
}
