//! Ways to damage a file, and numbers and values that break what reads them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use proptest::prelude::*;
use serde_json::{Value, json};

/// One way to damage a file: bytes replaced, removed, inserted, a word replaced by an edge, or the end cut off.
pub(crate) fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    prop_oneof![
        (0..length).prop_map({
            let whole = whole.clone();
            move |end| whole[..end].to_vec()
        }),
        prop::collection::vec((0..length, any::<u8>()), 1..8).prop_map({
            let whole = whole.clone();
            move |edits| {
                let mut bytes = whole.clone();
                edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
                bytes
            }
        }),
        (0..length.min(64), edge(), any::<bool>()).prop_map({
            let whole = whole.clone();
            move |(at, edge, wide)| {
                let mut bytes = whole.clone();
                let word = &edge.to_le_bytes()[..if wide { 8 } else { 4 }];
                bytes.splice(at..(at + word.len()).min(length), word.iter().copied());
                bytes
            }
        }),
        (0..length, 0..40usize, prop::collection::vec(any::<u8>(), 0..40)).prop_map(move |(at, removed, inserted)| {
            let mut bytes = whole.clone();
            bytes.splice(at..(at + removed).min(length), inserted);
            bytes
        }),
    ]
}

/// Small numbers, and numbers at which 32 or 64 bits end, for themselves or as so many bytes or blocks.
pub(crate) fn edge() -> impl Strategy<Value = u64> {
    let ends = prop::sample::select(vec![0, 1 << 31, 1 << 32, 1 << 61, 1 << 62, 1 << 63, u64::MAX / 20]);
    let near = (ends, 0..100u64, any::<bool>());
    let near = near.prop_map(|(end, by, above)| if above { end.wrapping_add(by) } else { end.wrapping_sub(by) });
    prop_oneof![0..20u64, near]
}

/// A shape of up to four dimensions.
pub(crate) fn shape() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![3 => 0..20u64, 1 => edge()], 0..=4)
}

/// A JSON value of any kind, with the numbers that break things.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        edge().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Every place in a JSON value, as a pointer.
pub(crate) fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), found));
        }
        // The vocabulary would be nearly all places.
        Value::Object(map) if map.len() < 50 => {
            map.iter().for_each(|(name, item)| pointers(item, &format!("{at}/{name}"), found));
        }
        _ => {}
    }
}

/// A JSON value with another in one of its places.
pub(crate) fn with_any_value(whole: Value) -> impl Strategy<Value = Value> {
    let mut places = Vec::new();
    pointers(&whole, "", &mut places);
    (prop::sample::select(places), any_json()).prop_map(move |(place, value)| {
        let mut changed = whole.clone();
        *changed.pointer_mut(&place).expect("a place of its own") = value;
        changed
    })
}
