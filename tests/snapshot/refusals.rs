//! What is wrong with a snapshot is said.

use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot, SnapshotError};
use loquent::world::fingerprint::Fingerprint;
use serde_json::{Value, json};

use crate::hostile::{resealed, split};
use crate::listening::{model, world_of};
use crate::support::{fixtures, spawn};

#[test]
fn another_model_is_named_by_the_first_digits_of_both() {
    let [one, other] = [&fixtures()[0], &fixtures()[1]].map(|fixture| world_of(fixture));
    let (mut one, mut other) = (one, other);
    let sequence = spawn(&mut one, &[1, 2, 3], 9);
    advance(&mut one, Budget::Step);
    let snapshot = Snapshot::take(&mut one, sequence, Contents::AsStored).expect("a snapshot");
    let [saved, here] = [&mut one, &mut other].map(|world| {
        let model = model(world);
        *world.get::<Fingerprint>(model).expect("a fingerprint")
    });
    assert_ne!(saved, here);
    let model = model(&mut other);
    let refused = snapshot.restore(&mut other, model).unwrap_err().to_string();
    assert_eq!(refused, format!("a snapshot of the model {saved}: expected one of {here}"));
    assert_eq!(saved.to_string().len(), 8);
    let nobody = other.spawn_empty().id();
    assert!(matches!(snapshot.restore(&mut other, nobody).unwrap_err(), SnapshotError::NoSuchModel(_)));
    assert!(matches!(
        Snapshot::take(&mut other, nobody, Contents::Half).unwrap_err(),
        SnapshotError::NoSuchSequence(_)
    ));
}

#[test]
fn models_of_all_fixtures_differ_and_the_same_files_are_the_same_model() {
    let prints = |path: &std::path::PathBuf| {
        let mut world = world_of(path);
        let model = model(&mut world);
        *world.get::<Fingerprint>(model).expect("a fingerprint")
    };
    let all: Vec<Fingerprint> = fixtures().iter().map(prints).collect();
    for (index, print) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|other| other == print), Some(index), "{}", fixtures()[index].display());
    }
    assert_eq!(prints(&fixtures()[0]), all[0]);
}

#[test]
fn each_thing_that_a_header_cannot_say_is_named() {
    let mut world = world_of(&fixtures()[0]);
    let sequence = spawn(&mut world, &[1, 2, 3], 9);
    for _ in 0..4 {
        advance(&mut world, Budget::Step);
    }
    let bytes = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot").to_bytes();
    let model = model(&mut world);
    let mut refusal = |pointer: &str, value: Value| {
        let (mut header, caches) = split(&bytes);
        *header.pointer_mut(pointer).expect(pointer) = value;
        let restored =
            Snapshot::from_bytes(&resealed(&header, caches)).and_then(|snapshot| snapshot.restore(&mut world, model));
        restored.map(|restored| restored.sequence).unwrap_err().to_string()
    };
    for (pointer, value, expected) in [
        ("/sequence/tokens/prompt/1", json!(1 << 30), "sequence.tokens: expected ids below"),
        ("/sequence/tokens/generated/0", json!(u32::MAX), "sequence.tokens: expected ids below"),
        ("/sequence/tokens/prompt/0", json!(-1), "the header is not that of a snapshot"),
        ("/sequence/tokens/processed", json!(99), "sequence.tokens.processed: expected at most 7, found 99"),
        ("/sequence/tokens/processed", json!(0), "sequence.tokens.processed: expected some positions"),
        ("/sequence/tokens/processed", json!(3), "layers: expected DeltaNet { since: 3"),
        ("/sequence/tokens/spoken", json!([[0, 9]]), "sequence.tokens.spoken: expected"),
        ("/sequence/tokens/spoken", json!([[1, 2], [0, 1]]), "sequence.tokens.spoken: expected"),
        ("/sequence/tokens/keep_at", json!(u64::MAX), "sequence.tokens.keep_at: expected at most 7"),
        ("/sequence/conversation", json!({"messages": [], "turns": [1]}), "sequence.conversation.turns: expected"),
        ("/sequence/sampler/settings/top_p", json!(2f32.to_bits()), "sequence.sampler: top_p is 2"),
        ("/sequence/sampler/seed", json!("0"), "expected 64 hexadecimal digits"),
        ("/layers", json!([]), "layers: expected numbers for"),
        ("/layers/0/delta_net/numbers/0", json!(u64::MAX), "layers: expected numbers for"),
        ("/layers/0/delta_net/since", json!(1), "layers: expected DeltaNet"),
        ("/contents", json!("half"), "layers: expected numbers for"),
        ("/contents", json!("tokens"), "layers: expected none beside tokens only"),
        ("/fingerprint", json!("00".repeat(32)), "a snapshot of the model 00000000: expected one of"),
        ("/sequence/status", json!("dreaming"), "the header is not that of a snapshot"),
    ] {
        let found = refusal(pointer, value.clone());
        assert!(found.contains(expected), "{pointer} as {value}: {found}");
    }
    let options = json!({"add_generation_prompt": true, "enable_thinking": true, "tools": [],
        "template_args": {"messages": 1}});
    assert!(refusal("/sequence/options", options).contains("sequence.options.template_args: expected other names"));
    assert_eq!(world.query::<&Tokens>().iter(&world).count(), 1, "nothing was spawned");
}
