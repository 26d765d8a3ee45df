//! A few seconds of what the targets in `fuzz` do for hours, with files that are nearly right.

#[path = "support/any_bytes.rs"]
mod any_bytes;
#[path = "support/converted.rs"]
mod converted;
#[path = "support/damage.rs"]
mod damage;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

use std::alloc::System;
use std::sync::OnceLock;

use any_bytes::three_tensors;
use cap::Cap;
use converted::{blocks, halves, tensor_file};
use damage::{any_json, damaged, edge, shape, with_any_value};
use gguf::{Gguf, Meta, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};
use tiny_checkpoint::{TinyCheckpoint, file_with_header, llama_config, qwen3_config, text_config};

/// A hundred times what these tests take: whoever believes a header asks for more, and the tests end.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 256 << 20);

fn valid_q4() -> Vec<u8> {
    converted::q4(&[8, 12], &blocks(96, 0).0)
}

fn valid_f16() -> Vec<u8> {
    converted::f16(&[2, 4], &halves(8).0)
}

fn valid_index() -> Value {
    json!({"quarot_seed": 7, "tensors": [
        {"name": "model.layers.0.mlp.down_proj.weight", "file": "matrix.q4", "quantized": true, "shape": [8, 12], "numel": 96},
        {"name": "model.norm.weight", "file": "vector.f16", "quantized": false, "shape": [8], "numel": 8},
    ]})
}

fn valid_gguf() -> Gguf {
    static VALID: OnceLock<Gguf> = OnceLock::new();
    VALID.get_or_init(|| gguf::converted(TinyCheckpoint::new().path())).clone()
}

/// The number of a type of values, and a length or a count that may be an edge, before a few bytes.
fn nearly_right_value() -> impl Strategy<Value = Meta> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    (0..14u32, 0..14u32, edge(), bytes).prop_map(|(kind, inner, count, bytes)| match kind {
        8 => Meta::Raw(kind, [&count.to_le_bytes()[..], &bytes].concat()),
        9 => Meta::Raw(kind, [&inner.to_le_bytes()[..], &count.to_le_bytes(), &bytes].concat()),
        _ => Meta::Raw(kind, bytes),
    })
}

/// A file with one value, one tensor, or one of the numbers at its beginning in place of the right one.
fn nearly_right_gguf() -> impl Strategy<Value = Vec<u8>> {
    let (keys, names) = {
        let valid = valid_gguf();
        let keys: Vec<Vec<u8>> = valid.pairs.into_iter().map(|(key, _)| key).collect();
        let names: Vec<String> = valid.tensors.into_iter().map(|tensor| tensor.name).collect();
        (keys, names)
    };
    let other_value = (prop::sample::select(keys), nearly_right_value()).prop_map(|(key, value)| {
        let mut gguf = valid_gguf();
        gguf.set(&String::from_utf8(key).unwrap(), value);
        gguf
    });
    let offset = prop_oneof![4 => Just(None), 1 => edge().prop_map(Some)];
    let other_tensor = (prop::sample::select(names), 0..44u32, shape(), offset, 0..100usize);
    let other_tensor = other_tensor.prop_map(|(name, kind, dimensions, offset, size)| {
        let mut gguf = valid_gguf();
        let bytes = vec![0; size];
        *gguf.tensor(&name) = Tensor { name: name.clone(), kind, dimensions, bytes, offset };
        gguf
    });
    let other_header = (edge(), edge(), 0..6u32).prop_map(|(tensors, pairs, version)| Gguf {
        tensor_count: Some(tensors),
        pair_count: Some(pairs),
        version,
        ..valid_gguf()
    });
    prop_oneof![other_value, other_tensor, other_header].prop_map(|gguf| gguf.bytes())
}

/// A file with the header of this shape, a count and a payload that would fit if sizes wrapped, or nearly so.
fn nearly_right(
    magic: [u8; 4],
    version: u32,
    size: fn(u64) -> u64,
    payload: Vec<u8>,
) -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![4 => Just(None), 1 => edge().prop_map(Some)];
    let off = prop_oneof![6 => Just(0i64), 1 => -20..=20i64];
    (shape(), count, off).prop_map(move |(shape, count, off)| {
        let product = shape.iter().fold(1, |product: u64, &dimension| product.wrapping_mul(dimension));
        let count = count.unwrap_or(product);
        let length = size(count) % (1 << 16);
        let payload = payload.iter().copied().cycle().take(length.saturating_add_signed(off) as usize);
        tensor_file(&magic, version, &shape, count, &payload.collect::<Vec<_>>())
    })
}

/// A header of tensors that follow each other as if sizes wrapped, and may have other offsets.
fn nearly_right_safetensors() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["model.norm.weight", "model.a", "lm_head.weight", "a", "__metadata__"]);
    let element = prop::sample::select(vec![("F32", 4), ("F16", 2), ("BF16", 2), ("U8", 1), ("F64", 8), ("F4", 1)]);
    let offsets = prop_oneof![6 => Just(None), 1 => (edge(), edge()).prop_map(Some)];
    prop::collection::vec((name, element, shape(), offsets), 1..4).prop_map(|tensors| {
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, (dtype, size), shape, offsets) in tensors {
            let count = shape.iter().fold(1, |product: u64, &dimension| product.wrapping_mul(dimension));
            let start = end;
            end += count.wrapping_mul(size) % (1 << 16);
            let (start, end) = offsets.unwrap_or((start, end));
            header.insert(name.into(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        }
        file_with_header(&Value::Object(header).to_string(), &vec![0; end as usize])
    })
}

fn three_tensors_with_any_value() -> impl Strategy<Value = Vec<u8>> {
    let whole = three_tensors();
    let (length, rest) = whole.split_first_chunk().expect("a header");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let (header, data) = (serde_json::from_slice(header).expect("a header"), data.to_vec());
    with_any_value(header).prop_map(move |header| file_with_header(&header.to_string(), &data))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        any_bytes::safetensors(&bytes);
        any_bytes::gguf(&bytes);
        any_bytes::gguf(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
        any_bytes::q4(&bytes);
        any_bytes::f16(&bytes);
        any_bytes::config(&bytes);
        any_bytes::index(&bytes);
    }

    #[test]
    fn a_damaged_q4(bytes in damaged(valid_q4())) {
        any_bytes::q4(&bytes);
    }

    #[test]
    fn a_damaged_f16(bytes in damaged(valid_f16())) {
        any_bytes::f16(&bytes);
    }

    #[test]
    fn a_damaged_gguf(bytes in damaged(valid_gguf().bytes())) {
        any_bytes::gguf(&bytes);
    }

    #[test]
    fn a_nearly_right_gguf(bytes in nearly_right_gguf()) {
        any_bytes::gguf(&bytes);
    }

    #[test]
    fn a_damaged_safetensors(bytes in damaged(three_tensors())) {
        any_bytes::safetensors(&bytes);
    }

    #[test]
    fn a_damaged_configuration(
        bytes in configurations().prop_flat_map(|config| damaged(config.to_string().into_bytes())),
    ) {
        any_bytes::config(&bytes);
    }

    #[test]
    fn a_damaged_index(bytes in damaged(valid_index().to_string().into_bytes())) {
        any_bytes::index(&bytes);
    }

    #[test]
    fn a_nearly_right_q4(
        bytes in nearly_right(*b"KHQ4", 2, |count| count.wrapping_add(31) / 32 * 20, blocks(96, 0).0),
    ) {
        any_bytes::q4(&bytes);
    }

    #[test]
    fn a_nearly_right_f16(bytes in nearly_right(*b"KHF1", 1, |count| count.wrapping_mul(2), halves(8).0)) {
        any_bytes::f16(&bytes);
    }

    #[test]
    fn a_nearly_right_safetensors(bytes in nearly_right_safetensors()) {
        any_bytes::safetensors(&bytes);
    }

    #[test]
    fn a_safetensors_header_of_any_json(header in any_json(), data in 0..64usize) {
        any_bytes::safetensors(&file_with_header(&header.to_string(), &vec![0; data]));
    }

    #[test]
    fn a_safetensors_header_with_any_value(bytes in three_tensors_with_any_value()) {
        any_bytes::safetensors(&bytes);
    }

    #[test]
    fn a_configuration_with_any_value(config in configurations().prop_flat_map(with_any_value)) {
        any_bytes::config(config.to_string().as_bytes());
    }

    #[test]
    fn an_index_with_any_value(index in with_any_value(valid_index())) {
        any_bytes::index(index.to_string().as_bytes());
    }
}

/// Of each family, with every kind of scaling.
fn configurations() -> impl Strategy<Value = Value> {
    let [mut qwen3, mut llama] = [qwen3_config(), llama_config()];
    qwen3["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 32, "beta_slow": 1, "mscale": 1, "mscale_all_dim": 0.5, "truncate": false});
    llama["rope_scaling"] = json!({"rope_type": "llama3", "factor": 4.0, "original_max_position_embeddings": 16,
        "low_freq_factor": 1, "high_freq_factor": 4});
    let mut divided = llama_config();
    divided["rope_scaling"] = json!({"rope_type": "frequency_divisors", "frequency_divisors": [1, 4]});
    prop::sample::select(vec![text_config(), qwen3, llama, divided])
}

/// Else all that is above would hold if nothing were ever read.
#[test]
fn what_is_right_is_read() {
    assert_eq!(any_bytes::safetensors(&three_tensors()), 3);
    assert_eq!(any_bytes::gguf(&valid_gguf().bytes()), valid_gguf().tensors.len());
    assert_eq!(any_bytes::config(text_config().to_string().as_bytes()), 3);
    for config in [qwen3_config(), llama_config()] {
        assert_eq!(any_bytes::config(config.to_string().as_bytes()), 2);
    }
    assert_eq!(any_bytes::q4(&valid_q4()), 1);
    assert_eq!(any_bytes::f16(&valid_f16()), 1);
    assert_eq!(any_bytes::index(valid_index().to_string().as_bytes()), 2);
}
