//! Any bytes at all: they are refused, or what comes of them runs.

use std::cell::RefCell;

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::snapshot::{Contents, Restored, Snapshot, SnapshotError};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::damage::{any_json, damaged, with_any_value};
use crate::listening::model;
use crate::support::default_world;
use crate::tiny_checkpoint::TinyCheckpoint;

/// The header and the caches of a snapshot.
pub fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let header = serde_json::from_slice(&bytes[24..24 + length]).expect("a header");
    (header, &bytes[24 + length..bytes.len() - 32])
}

/// A snapshot with this header, whose lengths and checksum are right.
pub fn resealed(header: &Value, caches: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = b"LOQUSNAP\x02\0\0\0".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((caches.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(caches);
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

fn tiny_world() -> World {
    default_world(TinyCheckpoint::new().path())
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(tiny_world());
}

/// A conversation in the middle of its second answer, with much about it.
fn valid() -> Vec<u8> {
    let mut world = tiny_world();
    let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
    let rules = StopRules { end_tokens: Some(Vec::new()), stop_texts: vec!["<|end|>".into()], ..StopRules::after(6) };
    let bundle = (Conversation::default(), sampling, Seed(7), rules, Forgetful::default(), ChatOptions::default());
    let speaker = world.spawn(bundle).id();
    world.entity_mut(speaker).say("lo");
    while advance(&mut world, Budget::Step) != Progress::Idle {}
    world.entity_mut(speaker).say("qu");
    while world.get::<Tokens>(speaker).expect("tokens").generated.len() < 3 {
        advance(&mut world, Budget::Step);
    }
    world.entity_mut(speaker).say("more");
    let snapshot = Snapshot::take(&mut world, speaker, Contents::AsStored).expect("a snapshot");
    assert_eq!(snapshot.contents(), Contents::AsStored);
    snapshot.to_bytes()
}

/// Restores it, if that is allowed, and lets it run for a while.
fn run_for_a_while(bytes: &[u8]) -> Result<(), SnapshotError> {
    let snapshot = Snapshot::from_bytes(bytes)?;
    assert_eq!(snapshot.to_bytes(), bytes);
    WORLD.with_borrow_mut(|world| {
        let model = model(world);
        let Restored { sequence, .. } = snapshot.restore(world, model)?;
        (0..12).for_each(|_| _ = advance(world, Budget::Step));
        assert!(world.get::<Tokens>(sequence).is_some());
        let again = Snapshot::take(world, sequence, Contents::AsStored)?;
        let again = again.restore(world, model)?;
        world.despawn(sequence);
        (0..3).for_each(|_| _ = advance(world, Budget::Step));
        world.despawn(again.sequence);
        Ok(())
    })
}

/// Files whose header has another value somewhere, or another for one of the sequence's fields.
fn with_other_values() -> impl Strategy<Value = Vec<u8>> {
    let whole = valid();
    let (header, caches) = split(&whole);
    let caches = caches.to_vec();
    with_any_value(header).prop_map(move |header| resealed(&header, &caches))
}

/// Numbers in the header, other by a little.
fn with_nearby_numbers() -> impl Strategy<Value = Vec<u8>> {
    let whole = valid();
    let (header, caches) = split(&whole);
    let caches = caches.to_vec();
    let mut places = Vec::new();
    crate::damage::pointers(&header, "", &mut places);
    places.retain(|place| header.pointer(place).is_some_and(Value::is_u64));
    let changes = prop::collection::vec((prop::sample::select(places), -3..=3i64), 1..3);
    changes.prop_map(move |changes| {
        let mut header = header.clone();
        for (place, by) in changes {
            let value = header.pointer_mut(&place).expect("a place");
            *value = value.as_u64().expect("a number").wrapping_add_signed(by).into();
        }
        resealed(&header, &caches)
    })
}

/// The same with tokens only, where positions are not held to caches.
fn without_caches() -> impl Strategy<Value = Vec<u8>> {
    let whole = valid();
    let (mut header, _) = split(&whole);
    header["contents"] = "tokens".into();
    header["layers"] = Value::Array(Vec::new());
    with_any_value(header).prop_map(|header| resealed(&header, &[]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(Snapshot::from_bytes(&bytes).is_err());
        let begun = [b"LOQUSNAP\x02\0\0\0", &bytes[..]].concat();
        prop_assert!(Snapshot::from_bytes(&begun).is_err());
    }

    #[test]
    fn a_damaged_snapshot_is_refused(bytes in damaged(valid())) {
        prop_assert!(bytes == valid() || Snapshot::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_header_with_another_value_is_refused_or_runs(bytes in with_other_values()) {
        drop(run_for_a_while(&bytes));
    }

    #[test]
    fn a_header_with_nearby_numbers_is_refused_or_runs(bytes in with_nearby_numbers()) {
        drop(run_for_a_while(&bytes));
    }

    #[test]
    fn tokens_with_another_value_are_refused_or_run(bytes in without_caches()) {
        drop(run_for_a_while(&bytes));
    }

    #[test]
    fn a_header_of_any_json_is_refused(header in any_json()) {
        prop_assert!(run_for_a_while(&resealed(&header, &[])).is_err());
    }

    #[test]
    fn caches_with_any_numbers_run(caches in prop::collection::vec(any::<u32>(), 1..64)) {
        let whole = valid();
        let (header, old) = split(&whole);
        let words = caches.iter().cycle().take(old.len() / 4);
        let caches: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        prop_assert!(run_for_a_while(&resealed(&header, &caches)).is_ok());
    }
}

#[test]
fn every_byte_counts() {
    let whole = valid();
    assert!(run_for_a_while(&whole).is_ok());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Snapshot::from_bytes(&changed).is_err(), "{at}");
    }
}
