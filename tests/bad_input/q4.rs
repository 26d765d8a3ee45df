//! Converted directories: headers that lie, blocks that stand for nothing, and indexes that do not fit their files.

use std::fs;

use serde_json::{Value, json};

use crate::converted::{INDEX, blocks, f16, file_name, halves, q4, tensor_file};
use crate::tiny_checkpoint::TinyCheckpoint;

/// `[8, 12]`, three blocks.
const MATRIX: &str = "model.layers.0.mlp.down_proj.weight";
/// `[8]`
const VECTOR: &str = "model.norm.weight";

/// Asserts that a converted checkpoint is refused with these bytes in the file of `tensor`.
#[track_caller]
fn assert_file_refused(tensor: &str, bytes: impl AsRef<[u8]>, parts: &[&str]) {
    let (tiny, _) = TinyCheckpoint::converted();
    tiny.write(&file_name(tensor), bytes);
    tiny.assert_refused(&file_name(tensor), parts);
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let matrix = q4(&[8, 12], &blocks(96, 0).0);
    let vector = f16(&[8], &halves(8).0);
    assert_file_refused(MATRIX, f16(&[8, 12], &halves(96).0), &["begins with \"KHQ4\"", "found \"KHF1\""]);
    assert_file_refused(VECTOR, q4(&[8], &blocks(8, 0).0), &["begins with \"KHF1\"", "found \"KHQ4\""]);
    assert_file_refused(
        MATRIX,
        [b"\0\xffQ4", &matrix[4..]].concat(),
        &["begins with \"KHQ4\"", r#"found "\x00\xffQ4""#],
    );
    assert_file_refused(VECTOR, [b"khf1", &vector[4..]].concat(), &["a .f16 file", "found \"khf1\""]);
}

#[test]
fn the_older_form_of_q4_is_refused_with_the_way_out() {
    let bytes = tensor_file(b"KHQ4", 1, &[8, 12], 96, &[0; 54]);
    assert_file_refused(
        MATRIX,
        bytes,
        &["version 2 of the .q4 format", "found version 1", "18 bytes", "`loquent quantize`"],
    );
}

#[test]
fn versions_of_the_future_are_refused() {
    for version in [0, 3, 0x0200_0000, u32::MAX] {
        let bytes = tensor_file(b"KHQ4", version, &[8, 12], 96, &blocks(96, 0).0);
        assert_file_refused(MATRIX, bytes, &["version 2 of the .q4 format", &format!("found {version}")]);
    }
    for version in [0, 2, u32::MAX] {
        let bytes = tensor_file(b"KHF1", version, &[8], 8, &halves(8).0);
        assert_file_refused(VECTOR, bytes, &["version 1 of the .f16 format", &format!("found {version}")]);
    }
}

#[test]
fn a_header_that_ends_early_is_refused() {
    let whole = q4(&[8, 12], &blocks(96, 0).0);
    for length in 1..12 {
        assert_file_refused(MATRIX, &whole[..length], &["a .q4 header", &format!("found {length} byte")]);
    }
    for length in [12, 13, 28, 35] {
        let parts = ["a .q4 header of 36 bytes for 2 dimensions", &format!("found {length} bytes")];
        assert_file_refused(MATRIX, &whole[..length], &parts);
    }
    assert_file_refused(MATRIX, &whole[..36], &["60 bytes behind the header", "found 0 of 36 bytes in all"]);
}

#[test]
fn a_header_of_more_dimensions_than_any_tensor_has_is_refused() {
    for dimensions in [11u32, 1 << 16, 1 << 29, (1 << 29) - 1, u32::MAX, u32::MAX - 2] {
        let mut bytes = q4(&[8, 12], &blocks(96, 0).0);
        bytes[8..12].copy_from_slice(&dimensions.to_le_bytes());
        assert_file_refused(MATRIX, bytes, &["at most 10 dimensions", &format!("found {dimensions}")]);
    }
}

#[test]
fn a_file_that_is_shorter_or_longer_than_its_header_says_is_refused_with_both_figures() {
    let matrix = q4(&[8, 12], &blocks(96, 0).0);
    for (length, found) in [(95, 59), (76, 40), (97, 61), (116, 80)] {
        let mut bytes = matrix.clone();
        bytes.resize(length, 0x11);
        let found = format!("found {found} of {length} bytes in all");
        assert_file_refused(MATRIX, bytes, &["60 bytes behind the header, for Q4 [8, 12]", &found]);
    }
    let vector = f16(&[8], &halves(8).0);
    for (length, found) in [(43, 15), (45, 17)] {
        let mut bytes = vector.clone();
        bytes.resize(length, 0x11);
        let found = format!("found {found} of {length} bytes in all");
        assert_file_refused(VECTOR, bytes, &["16 bytes behind the header, for F16 [8]", &found]);
    }
}

#[test]
fn a_count_that_is_not_the_shapes_product_is_refused() {
    for count in [0, 95, 97, 1 << 40, u64::MAX] {
        let bytes = tensor_file(b"KHQ4", 2, &[8, 12], count, &blocks(96, 0).0);
        assert_file_refused(
            MATRIX,
            bytes,
            &["96 elements in the header", "[8, 12]", &format!("found {count} element")],
        );
    }
    let bytes = tensor_file(b"KHF1", 1, &[8], 7, &halves(8).0);
    assert_file_refused(VECTOR, bytes, &["8 elements in the header", "[8]", "found 7 elements"]);
    // Without dimensions there is one element.
    let bytes = tensor_file(b"KHF1", 1, &[], 8, &halves(8).0);
    assert_file_refused(VECTOR, bytes, &["1 element in the header", "[]", "found 8 elements"]);
}

#[test]
fn a_shape_whose_product_wraps_to_exactly_what_is_there_is_refused() {
    // (2^62 + 3) · 32 wraps to 96, and 2^61 · 8 to nothing.
    for (shape, count) in [([(1u64 << 62) + 3, 32], 96u64), ([(1 << 63) + 48, 2], 96), ([1 << 61, 8], 0)] {
        let bytes = tensor_file(b"KHQ4", 2, &shape, count, &blocks(count as usize, 0).0);
        let found = format!("found {count} elements");
        assert_file_refused(MATRIX, bytes, &["a shape whose size can be counted", &format!("{shape:?}"), &found]);
    }
    let shape = [(1 << 60) + 1, 8, 2];
    let bytes = tensor_file(b"KHF1", 1, &shape, 16, &halves(16).0);
    assert_file_refused(VECTOR, bytes, &["a shape whose size can be counted", "found 16 elements"]);
}

#[test]
fn a_size_in_bytes_that_wraps_to_exactly_what_is_there_is_refused() {
    // Twice 2^63 + 8 wraps to 16 bytes.
    let count = (1 << 63) + 8;
    let bytes = tensor_file(b"KHF1", 1, &[count], count, &halves(8).0);
    assert_file_refused(VECTOR, bytes, &["a size that memory can hold", &format!("F16 [{count}]")]);
    // Rounded up to whole blocks by adding 31, these wrap to no blocks at all.
    for count in [u64::MAX, u64::MAX - 30] {
        let bytes = tensor_file(b"KHQ4", 2, &[count], count, &[]);
        let expected = format!("{} bytes behind the header", (1u64 << 59) * 20);
        assert_file_refused(MATRIX, bytes, &[&expected, &format!("Q4 [{count}]"), "found 0 of 28 bytes in all"]);
    }
}

#[test]
fn a_size_beyond_the_file_is_refused() {
    for count in [128, 1 << 20, 1 << 40, 1 << 58, 1 << 63] {
        let bytes = tensor_file(b"KHQ4", 2, &[count], count, &blocks(96, 0).0);
        let expected = format!("{} bytes behind the header", u128::from(count).div_ceil(32) * 20);
        assert_file_refused(MATRIX, bytes, &[&expected, &format!("Q4 [{count}]"), "found 60 of 88 bytes in all"]);
    }
}

#[test]
fn a_block_that_stands_for_nothing_is_refused_with_its_place() {
    for (at, half, expected) in [
        (0, 0u16, "scales that are finite and above 0, found 0 in block 2"),
        (0, 0x8000, "scales that are finite and above 0, found -0 in block 2"),
        (0, 0xb000, "scales that are finite and above 0, found -0.125 in block 2"),
        (0, 0x7c00, "scales that are finite and above 0, found inf in block 2"),
        (0, 0x7e00, "scales that are finite and above 0, found NaN in block 2"),
        (2, 0x7c00, "finite biases, found inf in block 2"),
        (2, 0xfc00, "finite biases, found -inf in block 2"),
        (2, 0xffff, "finite biases, found NaN in block 2"),
    ] {
        let mut payload = blocks(96, 0).0;
        payload[40 + at..42 + at].copy_from_slice(&half.to_le_bytes());
        let tensor = format!("tensor {MATRIX:?}");
        assert_file_refused(MATRIX, q4(&[8, 12], &payload), &[&tensor, expected, "(elements from 64 on)"]);
    }
}

#[test]
fn a_half_that_is_not_finite_is_refused_with_its_place() {
    for (half, found) in [(0x7c00u16, "inf"), (0xfc00, "-inf"), (0x7c01, "NaN"), (0xffff, "NaN")] {
        let mut payload = halves(8).0;
        payload[10..12].copy_from_slice(&half.to_le_bytes());
        let found = format!("finite values, found {found} at element 5 (position [5])");
        assert_file_refused(VECTOR, f16(&[8], &payload), &[&format!("tensor {VECTOR:?}"), &found]);
    }
}

#[test]
fn a_header_that_contradicts_the_index_is_refused() {
    // The same number of elements, so that nothing else is wrong.
    for shape in [vec![12u64, 8], vec![96], vec![8, 12, 1], vec![2, 4, 12]] {
        let bytes = q4(&shape, &blocks(96, 0).0);
        let found = format!("found {shape:?}");
        assert_file_refused(MATRIX, bytes, &[&format!("tensor {MATRIX:?}"), "expected shape [8, 12]", &found]);
    }
}

#[test]
fn what_is_no_file_of_weights_is_refused() {
    for tensor in [MATRIX, VECTOR] {
        let file = file_name(tensor);
        assert_file_refused(tensor, "", &["expected content", "found an empty file"]);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n";
        assert_file_refused(tensor, pointer, &["found a Git LFS pointer"]);
        let (tiny, _) = TinyCheckpoint::converted();
        tiny.remove(&file);
        tiny.assert_refused(&file, &["the tensor that quantize_index.json names", "found no such file"]);
        fs::create_dir(tiny.file(&file)).unwrap();
        tiny.assert_refused(&file, &["expected a regular file", "found a directory"]);
    }
}

#[cfg(unix)]
#[test]
fn a_fifo_in_a_tensors_place_is_refused_and_not_waited_for() {
    let (tiny, _) = TinyCheckpoint::converted();
    tiny.remove(&file_name(MATRIX));
    let made = std::process::Command::new("mkfifo").arg(tiny.file(&file_name(MATRIX))).status().unwrap();
    assert!(made.success());
    tiny.assert_refused(&file_name(MATRIX), &["expected a regular file", "found a FIFO"]);
}

#[test]
fn weights_in_two_forms_are_refused() {
    for other in ["model.safetensors", "model.safetensors.index.json"] {
        let (tiny, _) = TinyCheckpoint::converted();
        tiny.write(other, "whatever it holds");
        tiny.assert_refused(INDEX, &["no other weights", &format!("found {other} as well")]);
    }
}

/// Asserts that an index is refused after a change to the entry of [`MATRIX`], in either form of the index.
#[track_caller]
fn assert_entry_refused(change: impl Fn(&mut Value), field: &str, parts: &[&str]) {
    let (tiny, mut index) = TinyCheckpoint::converted();
    let at = index.iter().position(|entry| entry["name"] == MATRIX).unwrap();
    change(&mut index[at]);
    tiny.write(INDEX, json!(index).to_string());
    let path = |prefix: &str| format!("field `{prefix}[{at}]{field}`");
    tiny.assert_refused(INDEX, &[&[&*path("")], parts].concat());
    tiny.write(INDEX, json!({"quarot_seed": 7, "tensors": index}).to_string());
    tiny.assert_refused(INDEX, &[&[&*path("tensors")], parts].concat());
}

#[test]
fn an_entry_of_the_index_must_be_a_tensor() {
    for entry in [json!(7), json!(null), json!("x"), json!([])] {
        assert_entry_refused(|it| *it = entry.clone(), "", &["an object", &format!("found {entry}")]);
    }
    for name in [json!(7), json!(null), json!("")] {
        assert_entry_refused(|entry| entry["name"] = name.clone(), ".name", &["expected a", "found"]);
    }
    for quantized in [json!(1), json!("yes"), json!(null)] {
        assert_entry_refused(|entry| entry["quantized"] = quantized.clone(), ".quantized", &["true or false"]);
    }
    for shape in [json!(96), json!([8.0, 12]), json!([-8, 12]), json!(["8", 12]), json!(null), json!([[8], 12])] {
        let found = if shape.is_null() { "found".to_owned() } else { format!("found {shape}") };
        assert_entry_refused(|entry| entry["shape"] = shape.clone(), ".shape", &["an array of sizes", &found]);
    }
    let eleven = json!([1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 12]);
    assert_entry_refused(|entry| entry["shape"] = eleven.clone(), ".shape", &["sizes, 10 at most", ",8,12]"]);
    assert_entry_refused(|entry| entry["shape"] = json!(["\u{7f}"]), ".shape", &["found an array of 1 item"]);
    for numel in [json!(95), json!(97), json!("96"), json!(96.0), json!(null), json!(u64::MAX)] {
        assert_entry_refused(|entry| entry["numel"] = numel.clone(), ".numel", &["expected 96, for shape [8, 12]"]);
    }
    // (2^62 + 3) · 32 wraps to 96.
    for shape in [json!([(1u64 << 62) + 3, 32]), json!([1u64 << 63, 2])] {
        assert_entry_refused(|entry| entry["shape"] = shape.clone(), ".shape", &["a shape whose size can be counted"]);
    }
}

#[test]
fn the_index_may_not_lead_out_of_the_directory() {
    for file in
        ["../x.q4", "/x.q4", "a/../x.q4", "sub/x.q4", "a\\x.q4", "C:x.q4", "", "..", ".q4/", "x.q4\0.q4", "\u{9b}2J.q4"]
    {
        let found = format!("found {file:?}");
        assert_entry_refused(
            |entry| entry["file"] = json!(file),
            ".file",
            &["a .q4 file in the same directory", &found],
        );
    }
}

#[test]
fn a_files_extension_must_say_what_the_index_says() {
    for file in ["x.f16", "x", "x.Q4", "x.q4.gz"] {
        let found = format!("found {file:?}");
        assert_entry_refused(|entry| entry["file"] = json!(file), ".file", &["the name of a .q4 file", &found]);
    }
    assert_entry_refused(|entry| entry["quantized"] = json!(false), ".file", &["the name of a .f16 file", ".q4\""]);
    assert_entry_refused(|entry| entry["file"] = json!(7), ".file", &["a string", "found 7"]);
}

#[test]
fn names_and_files_must_be_those_of_one_tensor() {
    let (tiny, index) = TinyCheckpoint::converted();
    let at = index.iter().position(|entry| entry["name"] == MATRIX).unwrap();
    for (field, expected) in [("name", "every name once"), ("file", "a file of its own")] {
        let mut index = index.clone();
        let mut again = index[at].clone();
        again[if field == "name" { "file" } else { "name" }] = json!("another.q4");
        index.push(again);
        tiny.write(INDEX, json!(index).to_string());
        let path = format!("field `[{}].{field}`", index.len() - 1);
        tiny.assert_refused(INDEX, &[&path, expected, &index[at][field].to_string()]);
    }
}

#[test]
fn an_index_must_be_of_a_known_form() {
    let (tiny, _) = TinyCheckpoint::converted();
    for (index, found) in
        [("7", "found 7"), ("null", "found null"), ("[", "EOF"), ("[1, 2", "EOF"), ("", "an empty file")]
    {
        tiny.write(INDEX, index);
        tiny.assert_refused(INDEX, &["expected", found]);
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    tiny.write(INDEX, nested);
    tiny.assert_refused(INDEX, &["recursion limit"]);
    tiny.write(INDEX, r#"{"quarot_seed": 1, "quarot_seed": 2, "tensors": []}"#);
    tiny.assert_refused(INDEX, &["\"quarot_seed\" for the second time"]);
    fs::File::options().write(true).open(tiny.file(INDEX)).unwrap().set_len((16 << 20) + 1).unwrap();
    tiny.assert_refused(INDEX, &["at most 16777216 bytes", "found 16777217 bytes"]);
}

#[test]
fn an_object_without_a_seed_is_refused() {
    let (tiny, tensors) = TinyCheckpoint::converted();
    for index in [
        json!({"tensors": tensors}),
        json!({"tensors": tensors, "quarot_seed": null}),
        json!({"tensors": tensors, "quarot_seed": "7"}),
        json!({"tensors": tensors, "quarot_seed": -1}),
        json!({"tensors": tensors, "quarot_seed": 0.5}),
        json!({}),
    ] {
        tiny.write(INDEX, index.to_string());
        tiny.assert_refused(INDEX, &["field `quarot_seed`", "the rotation's seed", "found"]);
    }
    for index in [json!({"quarot_seed": 7}), json!({"quarot_seed": 7, "tensors": {}})] {
        tiny.write(INDEX, index.to_string());
        tiny.assert_refused(INDEX, &["field `tensors`", "an array", "found"]);
    }
    for promotion in [json!("verified"), json!({"state": 1}), json!({"reason": []})] {
        tiny.write(INDEX, json!({"quarot_seed": 7, "tensors": tensors, "promotion": promotion}).to_string());
        tiny.assert_refused(INDEX, &["field `promotion", "expected", "found"]);
    }
}

#[test]
fn weights_that_need_rotations_at_run_time_are_refused() {
    let (tiny, tensors) = TinyCheckpoint::converted();
    let online = "v1-online-r3r4";
    for (key, value, named) in [
        ("artifact_version", json!(online), "field `artifact_version`"),
        ("artifact_version", json!(1), "field `artifact_version`"),
        ("online", json!({"version": online}), "field `online.version`"),
        ("online", json!(true), "field `online`"),
    ] {
        tiny.write(INDEX, json!({"quarot_seed": 7, "tensors": tensors, key: value}).to_string());
        tiny.assert_refused(INDEX, &[named, "expected", "found"]);
    }
    let residual = json!("v0-residual");
    let index =
        json!({"quarot_seed": 7, "tensors": tensors, "artifact_version": residual, "online": {"version": residual}});
    tiny.write(INDEX, index.to_string());
    tiny.load().expect("weights that need none");
}

#[test]
fn a_seed_that_is_not_the_configurations_is_refused() {
    let (tiny, tensors) = TinyCheckpoint::converted();
    let tiny = tiny.with_field("quarot_rotation_seed", json!(u64::MAX));
    tiny.write(INDEX, json!({"quarot_seed": u64::MAX - 1, "tensors": tensors}).to_string());
    let (expected, found) = (format!("expected {}, which config.json", u64::MAX), format!("found {}", u64::MAX - 1));
    tiny.assert_refused(INDEX, &["field `quarot_seed`", &expected, &found]);
}

#[test]
fn the_configurations_two_places_for_the_seed_must_agree() {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.config["quarot_rotation_seed"] = json!(1);
    let tiny = tiny.with_field("quarot_rotation_seed", json!(2));
    tiny.assert_refused(
        "config.json",
        &["`text_config.quarot_rotation_seed`", "expected 1, as at top level", "found 2"],
    );
    for seed in [json!("1"), json!(-1), json!(1.5), json!(true)] {
        let tiny = TinyCheckpoint::new().with_field("quarot_rotation_seed", seed);
        tiny.assert_refused("config.json", &["`quarot_rotation_seed`", "an integer from 0 to 2^64 - 1"]);
    }
}

#[test]
fn a_tensor_that_the_index_does_not_name_is_refused() {
    let (tiny, index) = TinyCheckpoint::converted();
    let index: Vec<&Value> = index.iter().filter(|entry| entry["name"] != MATRIX).collect();
    tiny.write(INDEX, json!(index).to_string());
    tiny.assert_refused(INDEX, &[&format!("tensor {MATRIX:?}"), "expected shape [8, 12]", "found no such tensor"]);
    tiny.write(INDEX, "[]");
    tiny.assert_refused(INDEX, &["found no such tensor"]);
}

#[test]
fn a_tensor_of_another_shape_than_the_configurations_is_refused() {
    for shape in [[12u64, 8], [8, 13], [24, 4]] {
        let (tiny, mut index) = TinyCheckpoint::converted();
        let count = shape.iter().product::<u64>();
        let entry = index.iter_mut().find(|entry| entry["name"] == MATRIX).unwrap();
        (entry["shape"], entry["numel"]) = (json!(shape), json!(count));
        tiny.write(INDEX, json!(index).to_string());
        tiny.write(&file_name(MATRIX), q4(&shape, &blocks(count as usize, 0).0));
        let found = format!("found {shape:?}");
        tiny.assert_refused(INDEX, &[&format!("tensor {MATRIX:?}"), "expected shape [8, 12]", &found]);
    }
}
