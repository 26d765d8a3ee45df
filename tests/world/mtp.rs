//! Loading the head that predicts several tokens, where it is wanted.

use std::path::{Path, PathBuf};

use bevy_ecs::prelude::*;
use loquent::LoadedModel;
use loquent::checkpoint::CheckpointError;
use loquent::cpu::{Cpu, Matrix};
use loquent::prelude::*;
use loquent::world::attention::Attention;
use loquent::world::draft::{Draft, Drafts};
use loquent::world::fingerprint::Fingerprint;
use loquent::world::layer::{LayerIndex, LayerNorms};
use loquent::world::mlp::Mlp;
use loquent::world::moe::Moe;
use loquent::world::mtp::{HeadOf, MtpHead};
use serde_json::json;

use crate::support::{generate, run, some_prompt};
use crate::tiny_checkpoint::{TinyCheckpoint, stored};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn options(mtp: bool) -> LoadOptions {
    LoadOptions::default().backend(Backend::Cpu).mtp(mtp)
}

fn fingerprint(path: &Path, mtp: bool) -> Fingerprint {
    LoadedModel::open(path, options(mtp)).expect("a model").fingerprint()
}

/// The entities of the head, and how many there are of its parts.
fn heads(world: &mut World) -> Vec<(Entity, Entity)> {
    world.query_filtered::<(Entity, &HeadOf), With<MtpHead<Cpu>>>().iter(world).map(|(e, of)| (e, of.0)).collect()
}

#[test]
fn it_is_a_draft_model_of_one_layer_beside_the_models_own() {
    for (name, layers) in [("mtp-tied", 4), ("published-untied", 6), ("q4-published", 4)] {
        let mut world = World::new();
        let model = load(&mut world, fixture(name), options(true)).expect("a model with a head");
        let heads = heads(&mut world);
        let &[(draft, trunk)] = heads.as_slice() else { panic!("{name}: {heads:?}") };
        assert_eq!((trunk, world.get::<ChildOf>(draft).map(ChildOf::parent)), (model, Some(model)), "{name}");
        let layer_of = |world: &World, of: Entity| -> Vec<Entity> {
            let children = world.get::<Children>(of).expect("layers").iter();
            children.filter(|&child| world.get::<LayerIndex>(child).is_some()).collect()
        };
        assert_eq!(layer_of(&world, model).len(), layers, "{name}");
        let &[layer] = layer_of(&world, draft).as_slice() else { panic!("{name}: one layer") };
        let layer_entity = world.entity(layer);
        let parts = layer_entity.get_components::<(&LayerNorms<Cpu>, &Attention<Cpu>, &Mlp<Cpu>)>();
        assert!(parts.is_ok(), "{name}");
        assert_eq!(world.get(layer), Some(&LayerIndex(0)), "{name}");
        world.despawn(model);
        assert!(world.get_entity(layer).is_err(), "{name}: it goes with its model");
    }
}

#[test]
fn nothing_of_it_is_there_unless_it_is_wanted() {
    for name in ["mtp-tied", "published-f16", "q4-published"] {
        let mut world = World::new();
        load(&mut world, fixture(name), options(false)).expect("a model");
        assert_eq!(heads(&mut world), [], "{name}");
        let spawned = world.query::<&LayerIndex>().iter(&world).count();
        assert_eq!(spawned, 4, "{name}");
    }
}

#[test]
fn the_model_says_the_same_with_and_without_it() {
    let texts = [false, true].map(|mtp| {
        let mut world = World::new();
        load(&mut world, fixture("mtp-tied"), options(mtp)).expect("a model");
        generate(&mut world, &some_prompt(12, 160), 20)
    });
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn its_model_is_the_same_one_and_reads_as_much_a_token() {
    let with = TinyCheckpoint::with_mtp();
    let mut without = TinyCheckpoint::with_mtp();
    without.tensors.retain(|name, _| !name.starts_with("mtp."));
    without.write_weights();
    let without = without.with_field("mtp_num_hidden_layers", json!(0));
    let expected = fingerprint(without.path(), false);
    assert_eq!([false, true].map(|mtp| fingerprint(with.path(), mtp)), [expected; 2]);
    let bytes = |tiny: &TinyCheckpoint, mtp| LoadedModel::open(tiny.path(), options(mtp)).unwrap().bytes_per_token();
    assert_eq!([bytes(&with, false), bytes(&with, true)], [bytes(&without, false); 2]);
}

#[test]
fn where_there_is_none_it_is_refused_with_the_reason_if_one_is_known() {
    for (name, reason) in [("tied-bf16", "none that is read"), ("quarot-published", "QuaRot")] {
        let error = LoadedModel::open(fixture(name), options(true)).err().expect("a refusal");
        assert!(matches!(error, LoadError::Source(CheckpointError::File { .. })), "{error}");
        let message = error.to_string();
        for part in [name, "mtp.*", reason] {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    }
}

#[test]
fn one_that_is_not_whole_is_refused_wanted_or_not() {
    let name = "mtp.layers.0.self_attn.q_norm.weight";
    for shape in [None, Some([3])] {
        let mut tiny = TinyCheckpoint::with_mtp();
        tiny.tensors.remove(name).unwrap();
        tiny.tensors.extend(shape.map(|shape| (name.to_owned(), stored(&shape, 0))));
        tiny.write_weights();
        for mtp in [false, true] {
            let message = LoadedModel::open(tiny.path(), options(mtp)).err().expect("a refusal").to_string();
            assert!(message.contains(name) && message.contains("shape [8]"), "{message}");
        }
    }
}

#[test]
fn matrices_of_four_bits_are_packed_like_the_models_own() {
    let mut world = World::new();
    load(&mut world, fixture("q4-published"), options(true)).expect("a model");
    let head = world.query::<&MtpHead<Cpu>>().single(&world).expect("a head");
    assert!(matches!(head.fc, Matrix::Packed { .. }), "{:?}", head.fc);
    assert_eq!((head.fc.rows(), head.fc.cols(), head.norm.len()), (64, 128, 64));
    assert_eq!(world.query::<&Moe<Cpu>>().iter(&world).count(), 0);
}

#[test]
fn a_model_that_is_revived_has_the_head_that_it_is_revived_with() {
    let mut world = World::new();
    let model = load(&mut world, fixture("mtp-tied"), options(true)).expect("a model");
    for mtp in [true, false, true] {
        let again = LoadedModel::open(fixture("mtp-tied"), options(mtp)).expect("a model");
        again.revive(&mut world, model).expect("the same model");
        assert_eq!(heads(&mut world).len(), usize::from(mtp));
        assert_eq!(world.query::<&LayerIndex>().iter(&world).count(), 4 + usize::from(mtp));
    }
}

#[test]
fn it_may_have_experts_one_by_one_or_in_one_tensor() {
    let said = |checkpoint: &TinyCheckpoint, draft: Option<Draft>| {
        let mut world = World::new();
        load(&mut world, checkpoint.path(), options(true)).expect("a model");
        world.resource_mut::<Limits>().drafts = Some(3);
        assert_eq!(world.query::<&Moe<Cpu>>().iter(&world).count(), 5, "that of the head, too");
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(30) };
        let sequence = world.spawn((Prompt::ids([1, 2, 3, 4, 5]), rules)).id();
        draft.into_iter().for_each(|draft| _ = world.entity_mut(sequence).insert(draft));
        run(&mut world, Budget::Step);
        let drafts = world.get::<Drafts>(sequence).map(|drafts| (drafts.drafted, drafts.accepted));
        (world.get::<Tokens>(sequence).expect("tokens").generated.clone(), drafts)
    };
    let (plain, _) = said(&TinyCheckpoint::with_experts_and_mtp(false), None);
    let (one_by_one, drafts) = said(&TinyCheckpoint::with_experts_and_mtp(false), Some(Draft::Mtp));
    assert_eq!((&one_by_one, plain.len()), (&plain, 30));
    assert!(drafts.is_some_and(|(drafted, _)| drafted > 0), "{drafts:?}");
    assert_eq!(
        said(&TinyCheckpoint::with_experts_and_mtp(true), Some(Draft::Mtp)),
        (plain, drafts),
        "the same guesses"
    );
}
