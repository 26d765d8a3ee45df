//! safetensors files: headers that lie, and tensors that are not what the configuration promises.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::tiny_checkpoint::{Stored, TinyCheckpoint, file_with_header, safetensors};

const FILE: &str = "model.safetensors";
const NORM: &str = "model.norm.weight";

/// A file with two tensors, `a` of 8 bytes and `b` of 16, after a change to its header.
#[track_caller]
fn assert_header_refused(change: impl FnOnce(&mut Value), parts: &[&str]) {
    let mut header = json!({
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [2, 4], "data_offsets": [8, 24]},
    });
    change(&mut header);
    let tiny = TinyCheckpoint::new();
    tiny.write(FILE, file_with_header(&header.to_string(), &[0; 24]));
    tiny.assert_refused(FILE, parts);
}

#[test]
fn a_header_length_beyond_the_file_or_the_limit_is_refused() {
    let tiny = TinyCheckpoint::new();
    let whole = safetensors(&tiny.tensors);
    for length in [whole.len() as u64, whole.len() as u64 - 7, 100_000_000] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        tiny.write(FILE, bytes);
        tiny.assert_refused(FILE, &[&format!("a safetensors header of {length} bytes"), "truncated"]);
    }
    for length in [100_000_001, u64::MAX, u64::MAX - 7, 1 << 63] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        tiny.write(FILE, bytes);
        tiny.assert_refused(FILE, &["at most 100000000 bytes", &format!("a length of {length}")]);
    }
}

#[test]
fn a_file_shorter_than_its_headers_length_is_refused() {
    let tiny = TinyCheckpoint::new();
    for length in 1..8 {
        tiny.write(FILE, vec![0; length]);
        tiny.assert_refused(FILE, &["a safetensors header", &format!("found {length} byte")]);
    }
    tiny.write(FILE, [0; 8]);
    tiny.assert_refused(FILE, &["expected JSON", "EOF"]);
}

#[test]
fn a_header_that_is_no_json_object_is_refused() {
    let tiny = TinyCheckpoint::new();
    for (header, found) in [("[]", "found []"), ("7", "found 7"), ("{", "EOF"), ("\u{0}", "line 1")] {
        tiny.write(FILE, file_with_header(header, &[]));
        tiny.assert_refused(FILE, &["expected", found]);
    }
    tiny.write(FILE, [&2u64.to_le_bytes()[..], b"\xff\xff"].concat());
    tiny.assert_refused(FILE, &["UTF-8", "position 8"]);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    tiny.write(FILE, file_with_header(&deep, &[]));
    tiny.assert_refused(FILE, &["recursion limit"]);
}

#[test]
fn a_truncated_or_longer_file_is_refused() {
    let tiny = TinyCheckpoint::new();
    let whole = safetensors(&tiny.tensors);
    tiny.write(FILE, &whole[..whole.len() - 1]);
    tiny.assert_refused(FILE, &["tensor \"", "data_offsets within the"]);
    tiny.write(FILE, [&whole[..], b"x"].concat());
    tiny.assert_refused(FILE, &["expected data to end at", "found"]);
}

#[test]
fn tensors_may_not_overlap_or_leave_gaps() {
    assert_header_refused(
        |header| header["b"]["data_offsets"] = json!([4, 20]),
        &["tensor \"b\"", "from 8 on, where a ends", "an overlap", "4..20"],
    );
    assert_header_refused(
        |header| header["a"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
        &["tensor \"b\"", "from 4 on", "a gap", "8..24"],
    );
    assert_header_refused(
        |header| header["a"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}),
        &["tensor \"a\"", "from 0 on, where the header ends", "4..8"],
    );
}

#[test]
fn offsets_must_lie_in_the_file_in_order() {
    for offsets in [json!([8, 25]), json!([24, 8]), json!([u64::MAX - 1, u64::MAX]), json!([8, u64::MAX])] {
        let found = format!("found {offsets}");
        assert_header_refused(
            |header| header["b"]["data_offsets"] = offsets,
            &["tensor \"b\"", "data_offsets within the 24 bytes", &found],
        );
    }
    for offsets in
        [json!([8]), json!([8, 24, 24]), json!(8), json!(null), json!([-8, 24]), json!([8.0, 24]), json!("x")]
    {
        let found = format!("found {offsets}");
        assert_header_refused(
            |header| header["b"]["data_offsets"] = offsets,
            &["tensor \"b\"", "data_offsets", &found],
        );
    }
}

#[test]
fn a_shape_must_be_its_bytes_in_types_that_no_model_reads_as_well() {
    for (element_types, bytes) in
        [("BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0", 3), ("U16 I16 F16 BF16", 6), ("U32 I32 F32", 12), ("U64 I64 F64", 24)]
    {
        for element_type in element_types.split(' ') {
            assert_header_refused(
                |header| {
                    header["b"]["dtype"] = json!(element_type);
                    header["b"]["shape"] = json!([3]);
                },
                &["tensor \"b\"", &format!("{bytes} bytes for {element_type} [3]"), "found 16 bytes"],
            );
        }
    }
}

#[test]
fn a_shape_must_be_its_bytes() {
    for (shape, expected) in [
        (json!([2, 5]), "20 bytes for BF16 [2, 5]"),
        (json!([]), "2 bytes for BF16 []"),
        (json!([0]), "0 bytes for BF16 [0]"),
        (json!([1_u64 << 63, 2]), "a size that can be counted"),
        // 2^61 · 8 wraps to 0, 2^60 · 2^4 + … to small numbers.
        (json!([1_u64 << 61, 8]), "a size that can be counted"),
        (json!([(1_u64 << 60) + 1, 8]), "a size that can be counted"),
    ] {
        assert_header_refused(
            |header| header["b"]["shape"] = shape,
            &["tensor \"b\"", expected, "found 16 bytes at 8..24"],
        );
    }
    for shape in [json!(8), json!([-2, -4]), json!([2.0, 4]), json!(["2", 4]), json!(null)] {
        let found = format!("found {shape}");
        assert_header_refused(|header| header["b"]["shape"] = shape, &["tensor \"b\"", "shape", &found]);
    }
    let many = json!(vec![1; 1000]);
    assert_header_refused(|header| header["b"]["shape"] = many, &["sizes, 10 at most", "found an array of 1000 items"]);
}

#[test]
fn an_entry_must_be_a_tensor() {
    assert_header_refused(|header| header["b"] = json!([1]), &["tensor \"b\"", "an object with dtype", "found [1]"]);
    assert_header_refused(|header| header["b"] = json!(null), &["tensor \"b\"", "an object with dtype", "found null"]);
    assert_header_refused(|header| header["b"]["dtype"] = json!(16), &["tensor \"b\"", "dtype", "found 16"]);
}

#[test]
fn a_name_used_twice_is_refused() {
    let tiny = TinyCheckpoint::new();
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    tiny.write(FILE, file_with_header(header, &[0; 8]));
    tiny.assert_refused(FILE, &["\"a\" for the second time"]);
}

#[test]
fn names_are_quoted_and_cut() {
    let long = "x".repeat(100_000);
    assert_header_refused(|header| header["\u{1b}[2J\n"] = json!(1), &[r#"tensor "\u{1b}[2J\n""#]);
    assert_header_refused(|header| header[&long] = json!(1), &["xxx\"…"]);
}

#[test]
fn a_missing_tensor_is_refused() {
    let names: Vec<String> = TinyCheckpoint::new().tensors.keys().cloned().collect();
    for name in names {
        let mut tiny = TinyCheckpoint::new();
        let shape = tiny.tensors.remove(&name).unwrap().shape;
        tiny.write_weights();
        let (tensor, expected) = (format!("tensor {name:?}"), format!("shape {shape:?}"));
        tiny.assert_refused(FILE, &[&tensor, &expected, "found no such tensor"]);
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    for shape in [vec![4, 2], vec![1, 8], vec![2, 2, 2], vec![8, 1]] {
        let mut tiny = TinyCheckpoint::new();
        tiny.tensors.get_mut(NORM).unwrap().shape = shape.clone();
        tiny.write_weights();
        let found = format!("found {shape:?}");
        tiny.assert_refused(FILE, &["tensor \"model.norm.weight\"", "expected shape [8]", &found]);
    }
}

#[test]
fn element_types_we_do_not_read_are_refused() {
    for (dtype, size) in
        [("F64", 8), ("I64", 8), ("F8_E4M3", 1), ("BOOL", 1), ("I32", 4), ("F4", 1), ("bf16", 2), ("\u{1b}[2J", 1)]
    {
        let mut tiny = TinyCheckpoint::new();
        tiny.tensors.insert(NORM.into(), Stored { dtype: dtype.into(), shape: vec![8], bytes: vec![0; 8 * size] });
        tiny.write_weights();
        let found = format!("found {dtype:?}");
        tiny.assert_refused(FILE, &["tensor \"model.norm.weight\"", "F32, F16 or BF16", &found]);
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_with_its_place() {
    for (dtype, one, bad, shown) in [
        ("F32", vec![0, 0, 0x80, 0x3f], vec![0, 0, 0xc0, 0x7f], "NaN"),
        ("F32", vec![0, 0, 0x80, 0x3f], vec![0, 0, 0x80, 0xff], "-inf"),
        ("F16", vec![0, 0x3c], vec![0, 0x7c], "inf"),
        ("F16", vec![0, 0x3c], vec![1, 0xfc], "NaN"),
        ("BF16", vec![0x80, 0x3f], vec![0x80, 0x7f], "inf"),
        ("BF16", vec![0x80, 0x3f], vec![0xff, 0xff], "NaN"),
    ] {
        let name = "model.layers.3.self_attn.o_proj.weight";
        let mut elements = vec![one; 8 * 16];
        elements[16 * 5 + 7] = bad;
        let mut tiny = TinyCheckpoint::new();
        let tensor = Stored { dtype: dtype.into(), shape: vec![8, 16], bytes: elements.concat() };
        tiny.tensors.insert(name.into(), tensor);
        tiny.write_weights();
        let found = format!("found {shown} at element 87 (position [5, 7])");
        tiny.assert_refused(FILE, &[&format!("tensor {name:?}"), "expected finite values", &found]);
    }
}

#[test]
fn an_untied_model_needs_its_head() {
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.remove("lm_head.weight");
    tiny.write_weights();
    tiny.assert_refused(FILE, &["tensor \"lm_head.weight\"", "found no such tensor"]);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    fs::copy(tiny.file(first), tiny.file(second)).unwrap();
    tiny.assert_refused(second, &["tensor \"", "in one shard", first, "as well"]);
}

#[test]
fn a_shard_must_have_what_the_index_says() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let whole: BTreeMap<&str, &str> =
        BTreeMap::from([("lm_head.weight", first), (NORM, second), ("model.layers.3.self_attn.v_proj.weight", second)]);
    let write = |name, shard| {
        let mut map = whole.clone();
        map.insert(name, shard);
        tiny.write("model.safetensors.index.json", json!({"weight_map": map}).to_string());
    };
    write("absent", first);
    tiny.assert_refused(first, &["tensor \"absent\"", "index.json says", "found no such tensor"]);
    write(NORM, first);
    tiny.assert_refused(first, &["tensor \"model.norm.weight\"", "index.json says", "found it in", second]);
}
