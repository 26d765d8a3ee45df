//! Whatever a host does meanwhile, guessing changes nothing: all sources at once, and acts at random.

use bevy_ecs::entity::EntityCloner;
use loquent::snapshot::{Contents, Snapshot};
use loquent::world::refusal::Refusal;
use proptest::prelude::*;

use super::*;

/// One thing that a host does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Advance(usize),
    Step,
    Fork(usize),
    Clone(usize),
    Pause(usize),
    Resume(usize),
    Save(usize),
    Join(usize),
    Drafts(Option<usize>),
    Rows(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let place = || 0..1000usize;
    prop_oneof![
        6 => (1..9usize).prop_map(Act::Advance),
        6 => Just(Act::Step),
        1 => place().prop_map(Act::Fork),
        1 => place().prop_map(Act::Clone),
        1 => place().prop_map(Act::Pause),
        1 => place().prop_map(Act::Resume),
        1 => place().prop_map(Act::Save),
        1 => place().prop_map(Act::Join),
        1 => prop::option::of(0..16usize).prop_map(Act::Drafts),
        1 => (1..40usize).prop_map(Act::Rows),
    ]
}

const PROMPTS: usize = 4;
const NEW: usize = 30;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_host_does_guessing_changes_nothing(acts in prop::collection::vec(act(), 20..60)) {
        let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mtp-tied");
        let size = vocab_size(&mut default_world(&checkpoint));
        let prompt = |index: usize| some_prompt(2 + 9 * index, size);
        let seed = |index: usize| index as u64;
        let truths: Vec<Vec<u32>> =
            (0..PROMPTS).map(|index| plainly(&checkpoint, &prompt(index), &hot(), seed(index), NEW).0).collect();
        let kinds = [Kind::Right, Kind::Errs, Kind::Lies];
        let mut world = world_with_head(&checkpoint);
        add_guessing(&mut world);
        world.resource_mut::<Limits>().drafts = Some(4);
        let model = world.query_filtered::<Entity, With<ModelState>>().single(&world).expect("a model");
        let options = LoadOptions::default().backend(Backend::Cpu).threads(1);
        let drafter = load(&mut world, &checkpoint, options).expect("a valid checkpoint");
        let spawn = |world: &mut World, place: usize| {
            let index = place % PROMPTS;
            let asked = (Prompt::ids(prompt(index)), SpeaksWith(model), sampler(&hot(), seed(index)), rules(NEW));
            let mut speaker = world.spawn(asked);
            match place % 6 {
                0 => _ = speaker.insert(Draft::Mtp),
                1 => _ = speaker.insert(Draft::Model(drafter)),
                2 => _ = speaker.insert(Draft::Lookup),
                place => {
                    let guesses = Guesses { truth: truths[index].clone(), kind: kinds[place % 3] };
                    speaker.insert((guesses, Drafted::default(), Drafts::default()));
                }
            }
            (speaker.id(), index)
        };
        let mut speakers: Vec<(Entity, usize)> = (0..6).map(|place| spawn(&mut world, place)).collect();
        for act in acts {
            let at = |place: usize| speakers[place % speakers.len()];
            match act {
                Act::Advance(pieces) => _ = advance(&mut world, Budget::Pieces(pieces)),
                Act::Step => _ = advance(&mut world, Budget::Step),
                Act::Fork(place) => {
                    let (original, index) = at(place);
                    let fork = world.entity_mut(original).fork();
                    let guesses = Guesses { truth: truths[index].clone(), kind: Kind::Errs };
                    world.entity_mut(fork).insert((guesses, Drafted::default(), Drafts::default()));
                    speakers.push((fork, index));
                }
                Act::Clone(place) => {
                    while *world.resource::<Cursor>() != Cursor::Begin {
                        advance(&mut world, Budget::Step);
                    }
                    let ((original, index), clone) = (at(place), world.spawn_empty().id());
                    EntityCloner::build_opt_out(&mut world).linked_cloning(true).clone_entity(original, clone);
                    speakers.push((clone, index));
                }
                Act::Pause(place) => _ = world.entity_mut(at(place).0).pause(),
                Act::Resume(place) => _ = world.entity_mut(at(place).0).resume(),
                Act::Save(place) => {
                    let (original, index) = at(place);
                    let Ok(saved) = Snapshot::take(&mut world, original, Contents::AsStored) else { continue };
                    world.despawn(original);
                    let restored = saved.restore(&mut world, model).expect("its model").sequence;
                    let guesses = Guesses { truth: truths[index].clone(), kind: Kind::Right };
                    world.entity_mut(restored).insert((guesses, Drafted::default(), Drafts::default()));
                    let place = place % speakers.len();
                    speakers[place] = (restored, index);
                }
                Act::Join(place) => {
                    let newcomer = spawn(&mut world, place);
                    speakers.push(newcomer);
                }
                Act::Drafts(drafts) => world.resource_mut::<Limits>().drafts = drafts,
                Act::Rows(rows) => world.resource_mut::<Limits>().rows = rows,
            }
        }
        for &(speaker, _) in &speakers {
            world.entity_mut(speaker).resume();
        }
        run(&mut world, Budget::Step);
        for (speaker, index) in speakers {
            let reason = world.get::<Finished>(speaker).map(|finished| &finished.0);
            if let Some(FinishReason::Refused(Refusal::NoSuchSequence(_))) = reason {
                // Its original was saved, and despawned, before the next step began.
                continue;
            }
            prop_assert_eq!(reason, Some(&FinishReason::Length));
            prop_assert_eq!(&generated(&world, speaker), &truths[index]);
        }
    }
}
